r"""A report in Markdown, for people who write papers: the page's own texts, figures as files.

Tables for LaTeX: one file a table, to be read with ``\input``; booktabs, text escaped. The same
tables for Typst: one file, texts as strings, which Typst prints as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from her2bayes.page.page import AnalysisPage, StudyPage, analysis_values, study_values
from her2bayes.page.section_view import glossary
from her2bayes.version import __version__

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#$~])")
EVIDENCE = (
    "Claim", "Place", "Quantity", "Published", "Reproduced", "Method", "Posterior", "Prior",
    "Verdict", "Evidence", "Fit", "Note",
)  # fmt: skip


def study_markdown(page: StudyPage) -> str:
    """Render the report of one study."""
    values = study_values(page)
    parts = [*_head(values["study"], values["summary"], values["notices"])]
    parts += _key_results(values["key_results"])
    parts += [f"**{name}.** {text(line)}" for name, line in values["judgements"]]
    if values["printed"]:
        counted = [f"{v['count']} {v['label']}" for v in values["quantities"] if v["count"]]
        parts += [text(", ".join(counted) + "."), *_findings(values["findings"])]
    for section in (values["cohort"], *values["sections"]):
        parts += _section(section)
    if values["absent"]:
        parts += ["## Analyses this paper does not allow", _bullets(values["absent"])]
    parts += ["## Evidence table", evidence(values["rows"])]
    parts += _models(values["models"])
    parts += ["## Methods", *map(text, values["methods"])]
    paragraph, *references = values["to_paste"]
    parts += ["### To paste", text(paragraph), _numbered(references)]
    if values["printed"]:
        parts += ["Verdicts:", _meanings(values["verdict_words"])]
    parts += ["Evidence:", _meanings(values["kind_words"])]
    return _joined([*parts, *_run(values["provenance"])])


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{place}. {text(line)}" for place, line in enumerate(lines, 1))


def analysis_markdown(page: AnalysisPage) -> str:
    """Render one analysis."""
    values = analysis_values(page)
    title = {**values["study"], "title": f"{values['study']['title']}: {values['heading']}"}
    parts = [*_head(title, values["summary"], values["notices"])]
    for section in values["sections"]:
        parts += _section(section)
    parts += ["## Methods", *map(text, values["methods"])]
    return _joined([*parts, *_run(values["provenance"])])


def text(words: object) -> str:
    """Plain text on one line, with nothing that Markdown or HTML would take for a command."""
    line = _SPECIAL.sub(r"\\\1", " ".join(str(words).split()))
    line = line.replace("\\<", "&lt;").replace("\\>", "&gt;").replace("--", "\\-\\-")
    return re.sub(r"^([-+=]|\d+(?=[.)]))", r"\\\1" if not line[:1].isdigit() else r"\1\\", line)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[bool]) -> str:
    """Rows of texts as a pipe table; columns for which ``right`` holds are flush right."""
    marks = ["---:" if flush else "---" for flush in right]
    lines = [map(_cell, headings), marks, *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def evidence(rows: Iterable[Mapping[str, Any]]) -> str:
    """Give the evidence table with one column for each kind of number."""
    return table(EVIDENCE, [evidence_cells(row) for row in rows], [False] * len(EVIDENCE))


def evidence_cells(row: Mapping[str, Any]) -> list[str]:
    """Texts of one row of the evidence table, in the order of its headings here."""
    posterior = [row["posterior"], row["probability"] and f"probability {row['probability']}"]
    quantity = [row["estimand"], row["statistic"], row["reading"] and f"reading: {row['reading']}"]
    return [
        row["claim_id"] or "not printed",
        row["locator"],
        _semicolons(quantity),
        row["published"],
        row["reproduced"],
        row["method"],
        _semicolons([*posterior, row["failed"]]),
        _semicolons(row["prior"]),
        row["verdict_label"],
        row["evidence_kind"].replace("_", " "),
        row["fit_id"] if row["posterior"] else "",
        row["note"],
    ]


def _semicolons(parts: Iterable[str]) -> str:
    return "; ".join(filter(None, parts))


def _cell(words: object) -> str:
    return text(words) or " "


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _head(study: Mapping[str, str], summary: str, notices: Iterable[str]) -> Iterable[str]:
    doi = study.get("doi", "")
    yield f"# {text(study['title'])}"
    yield text(study.get("citation", "")) + (f" doi:{text(doi)}" if doi else "")
    yield text(study.get("design", ""))
    yield from (f"**{text(line)}**" for line in notices)
    yield text(summary)


def _key_results(topics: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if topics:
        yield "## Key results"
        yield table(_KEYS, _key_rows(topics), [False] * len(_KEYS))
    yield from (text(topic["sentence"]) for topic in topics)


_NUMBERS = ("published", "reproduced", "posterior")
_KEYS = ("Quantity", *(name.capitalize() for name in _NUMBERS), "Verdict", "Sensitivity")


def _key_rows(topics: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [row["quantity"], *(" ".join(row[name]).strip() for name in _NUMBERS),
         row["verdict"].replace("_", " "), row["sensitivity"]]
        for topic in topics
        for row in topic["rows"]
    ]  # fmt: skip


def _findings(findings: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "## Findings"
    if not findings:
        yield "The audit found nothing a reviewer must see."
    for finding in findings:
        places = [
            f"{place['locator'] or 'Rows'}: {', '.join(row['claim_id'] for row in place['links'])}"
            for place in finding["places"]
        ]
        words = f"**{text(finding['kind'])}.** {text(finding['sentence'])}"
        yield f"{finding['number']}. {words} ({text('; '.join(places))})"


def _section(section: Mapping[str, Any]) -> Iterable[str]:
    yield f"## {text(section['title'])}"
    if section["failed"]:
        yield f"**{text(section['failed'])}**"
    yield from map(text, section["paragraphs"])
    yield from (f"{text(words)}: {text(name)}" for name, words in section["links"])
    for figure in section["figures"]:
        yield f"### {text(figure['title'])}"
        yield "\n".join(f"![{text(figure['alt'])}]({name})" for name in figure["files"])
        yield text(figure["caption"])
        if figure["table"]:
            yield from _table(figure["table"], titled=False)
    for one in section["tables"]:
        yield from _table(one, titled=True)
    fits = [f"{fit['title']} ({fit['fit_id']})" for fit in section["fits"]]
    if fits:
        yield f"Fits behind this section: {text(', '.join(fits))}."


def _table(one: Mapping[str, Any], titled: bool) -> Iterable[str]:
    if titled:
        yield f"**{text(one['title'])}**"
    columns = one["columns"]
    if columns:
        rows = [[cell["text"] for cell in row] for row in one["rows"]]
        yield table([c["label"] for c in columns], rows, [c["numeric"] for c in columns])
    yield text(one["caption"])


def _models(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if models:
        yield "## Diagnostics"
    for model in models:
        yield f"### Model {text(model['model'])}"
        yield "\n".join(f"    {line}" for line in model["equations"].splitlines())
        names = list(dict.fromkeys(name for fit in model["fits"] for name, _ in fit["diagnostics"]))
        rows = [
            [fit["title"], fit["fit_id"], fit["convergence"]]
            + [dict(fit["diagnostics"]).get(name, "") for name in names]
            for fit in model["fits"]
        ]
        yield table(["Fit", "fit id", "Convergence", *names], rows, [False] * (3 + len(names)))
        for fit in model["fits"]:
            yield from _checks(fit)
            yield from _judged(fit)
        priors = dict.fromkeys(pair for fit in model["fits"] for pair in fit["priors"])
        yield _meanings(priors)


def _checks(fit: Mapping[str, Any]) -> Iterable[str]:
    yield from (f"**{text(sentence)}**" for sentence in fit["warnings"])
    if fit["checks"]:
        yield (
            f"Predictive checks of {text(fit['title'])}: observed; 95 % of replicates (of the "
            "posterior at one of its draws), and P, uniform under the model."
        )
        names = ["statistic", "prior", "prior_tail", "posterior", "posterior_tail"]
        heads = ["Statistic of the counts", "Prior", "Prior P", "Posterior", "Posterior P"]
        rows = [[check[name] for name in names] for check in fit["checks"]]
        yield table(heads, rows, [False] * len(heads))


def _judged(fit: Mapping[str, Any]) -> Iterable[str]:
    title = text(fit["title"])
    if fit["compared"]:
        yield f"Models compared, {title}; left out one at a time: one {text(fit['unit'])}."
        heads = ["Model", "elpd (SE)", "Difference (SE)", "Stacking weight", "Largest Pareto k"]
        yield table(heads, [list(row.values()) for row in fit["compared"]], [False] * len(heads))
    if fit["power"]:
        yield f"Power scaling, {title}."
        heads = ["Quantity", "Prior", "Likelihood", "Diagnosis"]
        yield table(heads, [list(row.values()) for row in fit["power"]], [False] * len(heads))


def _meanings(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{text(name)}**: {text(meaning)}" for name, meaning in pairs)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {text(line)}" for line in lines)


def _run(provenance: Iterable[tuple[str, str]]) -> Iterable[str]:
    yield "## Glossary"
    yield _meanings((term, meaning) for term, _, meaning in glossary())
    yield "## Run"
    yield _meanings(provenance)
    yield f"Written by her2bayes {__version__}."


_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "\N{NO-BREAK SPACE}": "~", "−": "$-$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$",
    "→": r"$\rightarrow$", "∞": r"$\infty$", "–": "--", "—": "---", "’": "'", "±": r"$\pm$",
    "χ": r"$\chi$", "κ": r"$\kappa$", "²": r"$^2$", "α": r"$\alpha$", "β": r"$\beta$",
    "\N{ZERO WIDTH SPACE}": "{}",
}  # fmt: skip
_HEAD = (
    "% Needs \\usepackage[T1]{fontenc}, {booktabs} and {longtable}; a wide table also \\small or,\n"
    "% from {pdflscape}, \\begin{landscape}.\n"
)
_WIDE = 32  # characters from which a column gets a width of its own and wraps
_LINE = 0.94  # of the line's width, shared by the columns that wrap


def latex_files(values: Mapping[str, Any]) -> dict[str, str]:
    """Name -> text for each table of a page's values, and for its evidence table where it has one.

    ``values`` are those of ``page.study_values`` or ``page.analysis_values``.
    """
    files = {f"tables/{t['name']}.tex": _latex_table(t) for t in values["tables"] if t["columns"]}
    if values.get("rows"):
        rows = [evidence_cells(row) for row in values["rows"]]
        title = f"Published, reproduced and posterior: {values['study']['title']}"
        files["tables/evidence.tex"] = longtable(
            title, EVIDENCE, rows, [False] * len(EVIDENCE), "evidence"
        )
    return files


def _caption(view: Mapping[str, Any]) -> str:
    return ". ".join(part.rstrip(".") for part in (view["title"], view["caption"]) if part) + "."


def _latex_table(view: Mapping[str, Any]) -> str:
    caption = _caption(view)
    rows = [[cell["text"] for cell in row] for row in view["rows"]]
    columns = view["columns"]
    right = [column["numeric"] for column in columns]
    return longtable(caption, [c["label"] for c in columns], rows, right, view["name"])


def longtable(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool],
    label: str,
) -> str:  # fmt: skip
    """Rows of texts as a table that may run over pages; columns with ``right`` are flush right."""
    head = " & ".join(f"\\textbf{{{escaped(name)}}}" for name in headings) + " \\\\"
    body = [" & ".join(map(escaped, row)) + " \\\\" for row in rows]
    return "\n".join(
        [
            f"{_HEAD}\\begin{{longtable}}{{{''.join(_columns(headings, rows, right))}}}",
            f"\\caption{{{escaped(caption)}}}\\label{{tab:{label}}}\\\\",
            f"\\toprule\n{head}\n\\midrule\n\\endfirsthead",
            f"\\toprule\n{head}\n\\midrule\n\\endhead",
            "\\bottomrule\n\\endlastfoot",
            *body,
            "\\end{longtable}\n",
        ]
    )


def _columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> Iterable[str]:
    longest = [
        max([len(name), *(len(row[place]) for row in rows)]) for place, name in enumerate(headings)
    ]
    shares = [min(length, 120) for length in longest]
    wrapping = [share for share in shares if share > _WIDE]
    narrow = sum(share for share in shares if share <= _WIDE)
    for share, flush in zip(shares, right, strict=True):
        if share > _WIDE:
            part = _LINE * share / (sum(wrapping) + narrow)
            yield f"p{{{part:.2f}\\linewidth}}"
        else:
            yield "r" if flush else "l"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; a line break becomes a space."""
    letters = text.replace("--", "-\N{ZERO WIDTH SPACE}-")  # two hyphens would become a dash
    line = " ".join("".join(_ESCAPED.get(letter, letter) for letter in letters).split())
    return f"{{{line}}}" if line.startswith("[") else line  # after \\ a bracket is an argument


TYPST = "tables.typ"
_TYPST_HEAD = (
    '// Tables of a report by her2bayes, for Typst 0.12 or newer: #include "tables.typ".\n'
    "#show figure.where(kind: table): set block(breakable: true)\n"
    "#set text(size: 8pt)\n"
)


def typst(values: Mapping[str, Any]) -> str:
    """Every table of a page's values as one Typst text: key results first, evidence last."""
    found = []
    if topics := values.get("key_results"):
        found.append(_typst_table("Key results", _KEYS, _key_rows(topics), "key-results"))
    for view in values["tables"]:
        if view["columns"]:
            rows = [[cell["text"] for cell in row] for row in view["rows"]]
            right = [column["numeric"] for column in view["columns"]]
            heads = [column["label"] for column in view["columns"]]
            found.append(_typst_table(_caption(view), heads, rows, view["name"], right))
    if values.get("rows"):
        rows = [evidence_cells(row) for row in values["rows"]]
        title = f"Published, reproduced and posterior: {values['study']['title']}"
        found.append(_typst_table(title, EVIDENCE, rows, "evidence"))
    return "\n".join([_TYPST_HEAD, *found])


def _typst_table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], label: str,
    right: Sequence[bool] = (),
) -> str:  # fmt: skip
    """One table as a figure; columns of long texts share the width, columns with ``right`` flush.

    Its label is made of letters, digits, hyphens and underscores.
    """
    longest = [max([len(name), *(len(row[k]) for row in rows)]) for k, name in enumerate(headings)]
    widths = ["auto" if n <= _WIDE else f"{min(n, 120)}fr" for n in longest]
    sides = ["right" if flush else "left" for flush in right or [False] * len(headings)]
    head = ", ".join(f"strong({_typst_text(name)})" for name in headings)
    lines = [", ".join(map(_typst_text, row)) + "," for row in rows]
    return "\n".join(
        [
            "#figure(",
            f"  caption: {_typst_text(caption)},",
            "  kind: table,",
            "  table(",
            f"    columns: ({', '.join(widths)},),",
            f"    align: ({', '.join(sides)},),",
            "    stroke: none,",
            "    table.hline(),",
            f"    table.header({head}, table.hline(stroke: 0.5pt)),",
            *(f"    {line}" for line in lines),
            "    table.hline(),",
            "  ),",
            f") <tab-{re.sub(r'[^A-Za-z0-9_-]+', '-', label).strip('-')}>",
            "",
        ]
    )


def _typst_text(words: object) -> str:
    """A string of Typst on one line: nothing in it is a command."""
    line = str(words).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\t\n\r\f\v]+", " ", line).strip() + '"'
