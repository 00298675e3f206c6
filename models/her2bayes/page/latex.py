"""Tables for LaTeX: one file a table, to be read with ``\\input``; booktabs, text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from her2bayes.page import markdown

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
    files = {f"tables/{t['name']}.tex": _table(t) for t in values["tables"] if t["columns"]}
    if values.get("rows"):
        rows = [markdown.evidence_cells(row) for row in values["rows"]]
        title = f"Published, reproduced and posterior: {values['study']['title']}"
        files["tables/evidence.tex"] = longtable(
            title, markdown.EVIDENCE, rows, [False] * len(markdown.EVIDENCE), "evidence"
        )
    return files


def _table(view: Mapping[str, Any]) -> str:
    caption = ". ".join(part.rstrip(".") for part in (view["title"], view["caption"]) if part) + "."
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
