"""Sections, tables, figures and fits as plain values that HTML, Markdown and TeX print alike.

Numbers become text here, once; a renderer only escapes and arranges. A figure is also a file of its
own, with the colours of the light theme.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from her2bayes.inference.convergence import CHAINS_AGREE, CONVERGED
from her2bayes.page import evidence_view
from her2bayes.page.fit_card import compared_rows, power_rows
from her2bayes.page.numbers import count, number
from her2bayes.page.section import Figure, Section, Table, plain_name
from her2bayes.page.style import THEME

_GLOSSARY = Path(__file__).parent / "templates" / "glossary.toml"
_PROSE = {"p", "li", "figcaption", "caption", "dd"}  # where terms are linked
_PLAIN = {"a", "button", "code", "h1", "h2", "h3", "h4", "h5", "label", "nav", "pre", "script",
          "style", "summary", "svg", "title"}  # fmt: skip


@cache
def _terms() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads(_GLOSSARY.read_text("utf-8"))


def glossary() -> list[tuple[str, str, str]]:
    """Every term with its anchor and definition."""
    return [(term, _anchor(term), entry["text"]) for term, entry in _terms().items()]


def _anchor(term: str) -> str:
    return "term-" + re.sub(r"\W+", "-", term.lower()).strip("-")


def linked(page: str) -> str:
    """The page with a link to the glossary at the first use of each term in running text."""
    head, mark, end = page.partition('<section id="glossary"')
    if not mark:
        return page
    open_terms = {
        term: re.compile(entry.get("match", re.escape(term))) for term, entry in _terms().items()
    }
    depth, found = dict.fromkeys(("prose", "plain"), 0), []
    for piece in re.split(r"(<[^>]+>)", head):
        tag = re.match(r"<(/?)(\w+)", piece)
        if tag is None:
            prose = depth["prose"] > 0 and depth["plain"] == 0
            found.append(_with_links(piece, open_terms) if prose and piece.strip() else piece)
            continue
        for kind, names in (("prose", _PROSE), ("plain", _PLAIN)):
            if tag.group(2) in names:
                depth[kind] += -1 if tag.group(1) else 1
        found.append(piece)
    return "".join(found) + mark + end


def _with_links(text: str, open_terms: dict[str, re.Pattern[str]]) -> str:
    """``text`` with links; the terms that it holds are taken out of ``open_terms``."""
    places: list[tuple[int, int, str]] = []
    for term, pattern in list(open_terms.items()):
        hit = pattern.search(text)
        if hit and not any(hit.start() < b and a < hit.end() for a, b, _ in places):
            places.append((hit.start(), hit.end(), term))
            del open_terms[term]
    for a, b, term in sorted(places, reverse=True):
        text = f'{text[:a]}<a class="term" href="#{_anchor(term)}">{text[a:b]}</a>{text[b:]}'
    return text


_FONT = "DejaVu Sans, Verdana, Arial, sans-serif"


def figure_files(figures: Iterable[Figure]) -> dict[str, str]:
    """Name -> SVG text in the light theme; a figure of several drawings gives numbered files."""
    files = {}
    for figure in figures:
        drawings = re.findall(r"<svg\b.*?</svg>", figure.svg, flags=re.DOTALL)
        for place, drawing in enumerate(drawings, 1):
            suffix = f"-{place}" if len(drawings) > 1 else ""
            files[f"figures/{plain_name(figure.id)}{suffix}.svg"] = standalone(drawing)
    return files


def standalone(drawing: str) -> str:
    """Return one inline drawing as a complete SVG file."""
    for name, day, _ in THEME.values():
        drawing = drawing.replace(f"var(--{name})", day)
    drawing = re.sub(r' (?:data-tip|aria-label|class|role|tabindex)="[^"]*"', "", drawing)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="{_FONT}" '
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + drawing.replace("<svg ", head, 1) + "\n"


_NUMBERS = re.compile(r"[\d.,<>=%()–−\s]{1,30}|[\d.,−]+ \([\d.,−]+ to [\d.,−]+\)|\d+ of \d+")
_LINKED = {"fit_id": lambda text: f"fit-{text}", "claim_id": evidence_view.anchor}


SENTENCES = 3
"""Sentences of a section that stand unfolded on the page of a study."""
LONG = 24
"""Rows above which a table is folded wherever it stands."""
_END = re.compile(r"(?<=[a-z)\]%’'][.?!]) (?=[A-Z])")


def section_view(section: Section) -> dict[str, Any]:
    """Texts of a section, its figures with the tables behind them, its other tables, its fits.

    ``first`` is what a study's page shows of it, ``more`` what it folds, both with the same keys.
    """
    failed = [str(f.get("title", "")) for f in section.fits if not converged(f)]
    behind = {table.title: table for table in section.tables}
    titles = {figure.title for figure in section.figures}
    names = _file_names(section)
    figures = [_figure(f, behind.get(f.title), names) for f in section.figures]
    tables = [table_view(t, names[id(t)]) for t in section.tables if t.title not in titles]
    return {
        **_unfolded(section, figures, tables),
        "id": section.id,
        "title": section.title,
        "paragraphs": section.paragraphs,
        "figures": figures,
        "tables": tables,
        "fits": section.fits,
        "links": section.links,
        "failed": f"Not converged, do not rely on: {', '.join(failed)}." if failed else "",
    }


def _unfolded(
    section: Section, figures: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Three sentences, one figure and one table, and what a study's page folds."""
    main = {plain_name(name) for name in section.main}
    shown = [f for f in figures if f["id"] in main] or list(figures[:1])
    chosen = [t for t in tables if t["title"] in section.main] or list(tables[:1])
    chosen += [t for t in tables if t["choose"] and t not in chosen]
    said, rest = _sentences(section.paragraphs)
    hidden = [f for f in figures if f not in shown], [t for t in tables if t not in chosen]
    names = [(hidden[0], "figure"), (hidden[1], "table")]
    words = [count(len(found), name) for found, name in names if found]
    return {
        "first": {"paragraphs": said, "figures": shown, "tables": chosen},
        "more": {
            "paragraphs": rest,
            "figures": hidden[0],
            "tables": hidden[1],
            "words": ", ".join([*words, *["how it was done"][: len(rest)]]),
        },
    }


def _sentences(paragraphs: Sequence[str]) -> tuple[list[str], list[str]]:
    """First sentences of the first paragraph, and what is left of all."""
    if not paragraphs:
        return [], []
    sentences = _END.split(paragraphs[0])
    first, rest = " ".join(sentences[:SENTENCES]), " ".join(sentences[SENTENCES:])
    return [first], [text for text in (rest, *paragraphs[1:]) if text]


def _file_names(section: Section) -> dict[int, str]:
    """Name each table's file after its section and title; the second of a name is numbered."""
    names: dict[int, str] = {}
    for table in section.tables:
        slug = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")[:60] or "table"
        name = f"{plain_name(section.id)}-{slug}"
        taken = sum(n == name or n.startswith(f"{name}_") for n in names.values())
        names[id(table)] = f"{name}_{taken + 1}" if taken else name
    return names


def _figure(figure: Figure, behind: Table | None, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": plain_name(figure.id),
        "title": figure.title,
        "svg": Markup(figure.svg),  # drawn by page.style, which keeps its text escaped
        "files": list(figure_files([figure])),
        "caption": figure.caption,
        "alt": figure.alt or figure.title,
        "panels": 'class="wide"' not in figure.svg,
        "tips": "data-tip=" in figure.svg,
        "table": table_view(behind, names[id(behind)]) if behind is not None else None,
    }


def table_view(table: Table, name: str) -> dict[str, Any]:
    """Labels and cells of a table as text; ``name`` is that of its file without suffix."""
    frame = table.frame
    numeric = {str(c): pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns}
    columns = [
        {"label": str(c).replace("_", " ") if c in _LINKED else str(c), "numeric": numeric[str(c)]}
        for c in frame.columns
    ]
    rows = [
        [_cell(column, value, numeric[str(column)]) for column, value in record.items()]
        for record in frame.to_dict(orient="records")
    ]
    return {
        "name": name,
        "title": table.title,
        "caption": table.caption,
        "columns": columns,
        "rows": rows,
        "long": len(rows) > LONG,
        "choose": [list(map(str, frame.columns)).index(c) for c in table.choose],
    }


def _cell(column: object, value: Any, numeric: bool) -> dict[str, Any]:
    text = number(value) if numeric else ("" if pd.isna(value) else str(value))
    link = _LINKED[str(column)](text) if column in _LINKED and text else ""
    short = bool(_NUMBERS.fullmatch(text))
    return {"text": text, "link": link, "numeric": numeric, "unbroken": short}


def all_tables(sections: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give every table of viewed sections in the order of the page."""
    found: list[dict[str, Any]] = []
    for section in sections:
        found += [f["table"] for f in section["figures"] if f["table"]]
        found += section["tables"]
    return found


def models_view(sections: Sequence[Section], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Fits behind the sections, each once, under the model (name and equations) they share.

    A fit knows its sections and how many ``rows`` of the evidence table rest on it.
    """
    places: dict[str, list[dict[str, str]]] = {}
    fits: dict[str, Mapping[str, Any]] = {}
    for section in sections:
        for fit in section.fits:
            fit_id = str(fit.get("fit_id", ""))
            fits.setdefault(fit_id, fit)
            here = {"id": section.id, "title": section.title}
            if here not in places.setdefault(fit_id, []):
                places[fit_id].append(here)
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for fit_id, fit in fits.items():
        key = str(fit.get("model", "")), str(fit.get("equations", "")).strip()
        model = models.setdefault(key, {"model": key[0], "equations": key[1], "fits": []})
        used = sum(row["fit_id"] == fit_id and bool(row["posterior"]) for row in rows)
        model["fits"].append({**_fit(fit), "sections": places[fit_id], "rows": used})
    return list(models.values())


def converged(fit: Mapping[str, Any]) -> bool:
    """Tell whether the verdict of a fit is that it converged."""
    return str(fit.get("convergence", "")).startswith((CONVERGED, CHAINS_AGREE))


def _fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "fit_id": fit.get("fit_id", ""),
        "title": fit.get("title", "Fit"),
        "convergence": str(fit.get("convergence") or "no convergence verdict"),
        "converged": converged(fit),
        **{
            name: list(fit.get(name, {}).items())
            for name in ("priors", "diagnostics", "provenance")
        },
        **{name: list(fit.get(name, ())) for name in ("checks", "warnings", "plots")},
        "compared": compared_rows(fit),
        "power": power_rows(fit),
        "unit": fit.get("unit", ""),
    }


def flat(record: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested values as pairs of label and text."""
    lines: list[tuple[str, str]] = []
    for name, value in record.items():
        label = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            lines += flat(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            lines.append((label, ", ".join(map(str, value))))
        else:
            lines.append((label, str(value)))
    return lines
