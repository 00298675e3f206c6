"""Sections, fits and evidence rows as plain values that HTML, Markdown and TeX print alike.

Numbers become text here, once; a renderer only escapes and arranges. A figure is also a file of its
own, with the colours of the light theme. Rows of the evidence table have text, anchors, links and
sort keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from her2bayes.audit.claims import quantities
from her2bayes.inference.convergence import CHAINS_AGREE, CONVERGED, failed
from her2bayes.page.fit_card import compared_rows, power_rows
from her2bayes.page.numbers import count, interval, number, p_value, probability, survival_time
from her2bayes.page.section import Figure, Section, Table, plain_name
from her2bayes.page.style import THEME

# verdict -> words on the page, in the order in which a reviewer wants them counted
VERDICT_LABELS = {
    "reproduces": "reproduces",
    "rounding": "rounding",
    "method": "method",
    "differs": "differs",
    "inconsistent": "inconsistent",
    "not_checkable": "not checkable",
}
VERDICT_MEANINGS = {
    "reproduces": "the number follows from other printed numbers at the printed decimals",
    "rounding": "it follows after a rounding step in between, or with the last digit cut off",
    "method": "it follows only under a named variant of the method",
    "differs": "it does not follow from the printed numbers it should follow from",
    "inconsistent": "another printed number contradicts it",
    "not_checkable": "what is printed does not determine it; the note says what is missing",
}


KIND_MEANINGS = {
    "printed": "nothing else determines it: the number stands as printed",
    "recomputed": "from other printed numbers of the same paper",
    "patients": "from patients' records",
    "by_construction": "a constraint: the published number was an input, agreement is no evidence",
    "implied": "from reported counts that do not determine it, and the prior of the model",
}


def kind_words() -> list[tuple[str, str]]:
    """Pair each kind of evidence with what it means."""
    return [(kind.replace("_", " "), meaning) for kind, meaning in KIND_MEANINGS.items()]


def verdict_words() -> list[tuple[str, str]]:
    """Pair each verdict's label with what it means."""
    return [(VERDICT_LABELS[v], meaning) for v, meaning in VERDICT_MEANINGS.items()]


def anchor(claim_id: str) -> str:
    """Page anchor of a ledger row: letters, digits, dots, hyphens and underscores only."""
    return "claim-" + re.sub(r"[^\w.-]", "-", claim_id)


def rows(
    evidence: pd.DataFrame,
    doi: str = "",
    findings: pd.DataFrame | None = None,
    fits: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Give each row of an evidence table as texts for the page, in the order of the table.

    With ``doi`` a printed row links to its words in the paper, with ``findings`` to the findings
    that rest on it; ``fits`` maps fit ids to the section that reports them.
    """
    records = evidence.to_dict(orient="records")
    found = [_row(place, {str(k): v for k, v in r.items()}) for place, r in enumerate(records)]
    topics = _topics(found, fits or {})
    cited: dict[str, list[dict[str, Any]]] = {}
    for place, finding in enumerate([] if findings is None else findings.to_dict("records"), 1):
        for claim_id in dict.fromkeys(str(finding["claim_ids"]).split()):
            link = {"number": place, "anchor": finding_anchor(finding["finding_id"])}
            cited.setdefault(claim_id, []).append(link)
    for row in found:
        row["paper"] = paper_link(doi, row["printed_text"]) if row["claim_id"] else ""
        row["findings"] = cited.get(row["claim_id"], []) if row["claim_id"] else []
        row["topic"] = topics.get(row["kind"], "")
    return found


def _topics(found: Iterable[Mapping[str, Any]], fits: Mapping[str, str]) -> dict[str, str]:
    """Section of each kind of estimand: the one whose fits answer most rows of the kind."""
    votes: dict[str, dict[str, int]] = {}
    for row in found:
        section = fits.get(row["fit_id"])
        if section:
            of_kind = votes.setdefault(row["kind"], {})
            of_kind[section] = of_kind.get(section, 0) + 1
    return {kind: max(of_kind, key=lambda s: of_kind[s]) for kind, of_kind in votes.items()}


def paper_link(doi: str, text: str) -> str:
    """Address of the paper that opens at a printed text, where the browser can; '' without DOI."""
    if not doi:
        return ""
    words = quote(text, safe="").replace("-", "%2D")
    return f"https://doi.org/{quote(doi, safe='/.()')}" + (f"#:~:text={words}" if words else "")


def finding_anchor(finding_id: object) -> str:
    """Page anchor of a finding."""
    return "finding-" + re.sub(r"[^\w.-]", "-", str(finding_id))


def findings(table: pd.DataFrame, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings with the rows they rest on, grouped by their place in the paper."""
    known = {row["claim_id"]: row for row in rows if row["claim_id"]}

    def cited(claim_ids: Iterable[str]) -> list[dict[str, Any]]:
        places: dict[str, list[dict[str, str]]] = {}
        for claim_id in claim_ids:
            row = known.get(claim_id, {})
            link = {"claim_id": claim_id, "anchor": row.get("anchor", "")}
            places.setdefault(row.get("locator", ""), []).append(link)
        return [{"locator": locator, "links": links} for locator, links in places.items()]

    return [
        {
            "number": place,
            "anchor": finding_anchor(finding["finding_id"]),
            "kind": str(finding["kind"]).replace("_", " "),
            "contradiction": any(
                known.get(c, {}).get("verdict") in {"inconsistent", "differs"}
                for c in str(finding["claim_ids"]).split()
            ),
            "sentence": finding["sentence"],
            "places": cited(str(finding["claim_ids"]).split()),
        }
        for place, finding in enumerate(table.to_dict(orient="records"), 1)
    ]


def verdict_counts(evidence: pd.DataFrame) -> list[dict[str, Any]]:
    """Count ledger rows by verdict, with the place of each in a bar 1000 units wide."""
    verdicts = evidence.loc[evidence["claim_id"] != "", "verdict"]
    counts = verdicts.value_counts()
    return bar({v: int(counts.get(v, 0)) for v in VERDICT_LABELS})


def quantity_counts(evidence: pd.DataFrame) -> list[dict[str, Any]]:
    """Count distinct quantities by verdict, with the place of each in a bar 1000 units wide."""
    counts = quantities(evidence)["verdict"].value_counts()
    return bar({v: int(counts.get(v, 0)) for v in VERDICT_LABELS})


def bar(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Give counts by verdict their places in a bar 1000 units wide."""
    total, start, parts = max(1, sum(counts.values())), 0.0, []
    for verdict, label in VERDICT_LABELS.items():
        amount = counts.get(verdict, 0)
        width = 1000 * amount / total
        parts.append(
            {
                "verdict": verdict,
                "label": label,
                "count": amount,
                "start": f"{start:.2f}",
                "width": f"{width:.2f}",
            }
        )
        start += width
    return parts


def _row(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    claim_id, verdict = _text(row, "claim_id"), _text(row, "verdict")
    convergence = _text(row, "convergence")
    return {
        **{name: _text(row, name) for name in _AS_THEY_ARE},
        "claim_id": claim_id,
        "anchor": anchor(claim_id) if claim_id else f"row-{place + 1}",
        "order": place,
        "kind": _text(row, "estimand").partition("[")[0],
        "printed_text": _text(row, "published_text"),
        "statistic": _text(row, "statistic").replace("_", " "),
        "published": _published(row),
        "published_sort": _sort(row, "published", "published_p"),
        "reproduced": _reproduced(row),
        "reproduced_sort": _sort(row, "reproduced", "reproduced_p"),
        "posterior": _estimate(row, "posterior_median", "posterior_lower", "posterior_upper"),
        "posterior_sort": _sort(row, "posterior_median"),
        "probability": _chance(row),
        "prior": _prior(row),
        "verdict": verdict,
        "verdict_label": VERDICT_LABELS.get(verdict, verdict),
        "verdict_order": list(VERDICT_LABELS).index(verdict) if verdict in VERDICT_LABELS else "",
        "failed": convergence if failed(convergence) else "",
    }


_AS_THEY_ARE = ("locator", "estimand", "method", "evidence_kind", "note", "reading", "fit_id")


def _published(row: Mapping[str, Any]) -> str:
    """Text of the paper, as printed; numbers only where the table came without it."""
    text = _text(row, "published_text")
    if text:
        return text
    text = interval(row.get("published"), row.get("published_lower"), row.get("published_upper"))
    p = p_value(row.get("published_p"))
    if p:
        text += f"{'; ' if text else ''}P {p if p[0] == '<' else '= ' + p}"
    return text


def _reproduced(row: Mapping[str, Any]) -> str:
    text = _estimate(row, "reproduced", "reproduced_lower", "reproduced_upper")
    p = p_value(row.get("reproduced_p"))
    if p:
        text += f"{'; ' if text else ''}P {p if p[0] == '<' else '= ' + p}"
    return text


def _estimate(row: Mapping[str, Any], value: str, lower: str, upper: str) -> str:
    bounds = (row.get(lower), row.get(upper))
    if _median_of_a_fit(row, value):
        return survival_time(row.get(value), *bounds, _text(row, "unit"))
    exact = bounds[0] == bounds[1]  # counts without rounding: an interval of no width
    text = interval(row.get(value), *((None, None) if exact else bounds), unit=_text(row, "unit"))
    return f"{text}\N{NO-BREAK SPACE}%" if text and _text(row, "unit") == "%" else text


def _median_of_a_fit(row: Mapping[str, Any], value: str) -> bool:
    """Whether what is missing lies beyond follow-up: of posterior and prior, where there is one."""
    fitted = value.startswith(("posterior", "prior")) and _text(row, "fit_id") != ""
    return fitted and _text(row, "estimand").startswith("median[")


def _chance(row: Mapping[str, Any]) -> str:
    posterior, prior = (probability(row.get(f"{n}_probability")) for n in ("posterior", "prior"))
    return f"{posterior} (prior {prior})" if posterior and prior else posterior


def _prior(row: Mapping[str, Any]) -> list[str]:
    text = _estimate(row, "prior_median", "prior_lower", "prior_upper")
    learnt = number(row.get("contraction"), 2)
    lines = (("prior", text), ("contraction", learnt))
    return [f"{name} {value}" for name, value in lines if value]


def _sort(row: Mapping[str, Any], *columns: str) -> str:
    for column in columns:
        value = row.get(column)
        if isinstance(value, int | float) and not pd.isna(value):
            return f"{value:.6g}"
    return ""


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return value if isinstance(value, str) else ""


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
_LINKED = {"fit_id": lambda text: f"fit-{text}", "claim_id": anchor}


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
