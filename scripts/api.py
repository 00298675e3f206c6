"""Write docs/api.md from the docstrings of the public names; --check tells whether it is old."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from her2bayes.cli import out, plain, run
from her2bayes.errors import BadInput, Fault

FILE = Path(__file__).resolve().parent.parent / "docs" / "api.md"

ORDER = {
    "Sources": ("load_study", "studies", "read_patients", "read_counts", "read_curve"),
    "Fits": (
        "fit_distribution", "fit_transitions", "fit_survival", "fit_response",
        "fit_adverse_events", "fit_joint", "reconstruct", "synthesise",
    ),
    "What is made of them": (
        "audit", "compare", "sensitivity", "calibrate", "report", "load_fit",
    ),
    "Words": ("prior", "Sampling", "Estimand", "BadInput"),
}  # fmt: skip

HEAD = """\
# The Python interface

Written by `bash scripts/run api` from the docstrings; a test compares the two and runs the
examples. `import her2bayes as hb` gives these names and loads nothing until one is used. Whatever
cannot be used raises `hb.BadInput` with all faults at once, before the first draw.
"""

ARVIZ = """\
## From ArviZ

`fit.tree` is an ArviZ `DataTree` with named dims: groups `posterior`, `prior`, `log_likelihood`,
`log_prior`, `observed_data`, `posterior_predictive`, `sample_stats`.

| to see | write |
|---|---|
| convergence, quantiles of parameters | `az.summary(fit.tree, ci_prob=0.95, ci_kind="eti")` |
| whether the chains agree | `az.plot_rank_dist(fit.tree)` |
| parameters side by side | `az.plot_forest(fit.tree)` |
| expected log predictive density | `az.loo(fit.tree)` (of the cells of a table, not of patients) |
| sensitivity to prior and likelihood | `az.psense_summary(fit.tree)` |
| one estimand in any of these | `az.summary(fit.draws(["share[her2=low]"]))` |
"""

OWN = """\
## A model of your own

A file with `DEFAULT_PRIORS`, `build(data, priors)` and, where it answers estimands that the family
cannot derive from its variables, `draws(posterior, data, estimands)`; `model="my_model.py"` (or
the imported module) in a `fit_` function. `data` is the family's contract: for `fit_distribution`
StatusCells (`counts` (subgroup, reading), `incidence` (reading, her2), a coordinate on `subgroup`
for each factor), for `fit_survival` SurvivalCells (`events` and `person_months` (groups...,
interval)). A survival model that has a variable `log_hazard` over the cells, and a distribution
model that has `share` (subgroup, her2), need no `draws`. Before the first draw the model is built
and tried: finite density and gradient at the initial point and at prior draws, predictive draws of
the shape of the data. Two that ship:
[distribution_trend.py](../scripts/examples/distribution_trend.py) and
[lognormal_survival.py](../scripts/examples/lognormal_survival.py).
"""


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; exit code 2 if old.")
    ] = False,
) -> None:
    text = written()
    if check:
        if not FILE.is_file() or FILE.read_text("utf-8") != text:
            raise BadInput(Fault("not current", file=FILE, remedy="bash scripts/run api"))
    else:
        FILE.write_text(text, encoding="utf-8")
    out.print(plain(FILE), soft_wrap=True)


def written() -> str:
    """The whole document."""
    import her2bayes

    public = [name for name in her2bayes.__all__ if name != "__version__"]
    listed = [name for names in ORDER.values() for name in names]
    rest = tuple(name for name in public if name not in listed)
    parts = [HEAD]
    for title, names in {**ORDER, **({"Others": rest} if rest else {})}.items():
        there = [getattr(her2bayes, name) for name in names if name in public]
        if there:
            parts += [f"## {title}\n", *map(_entry, there)]
        if title == "Fits":
            parts.append(_fitted())
    return "\n".join([*parts, _kinds(), OWN, ARVIZ])


def _entry(value: Any, of: str = "hb.") -> str:
    """Heading, signature and docstring of a function or class."""
    name = value.__name__.rpartition(".")[2]
    value = inspect.unwrap(value)
    text = markdown(inspect.getdoc(value) or "")
    if inspect.isclass(value) and issubclass(value, Exception):
        return f"### {of}{name}\n\n{text}\n"
    return f"### {of}{name}\n\n```text\n{signature(value, of + name)}\n```\n\n{text}\n"


def signature(function: Any, name: str) -> str:
    """A signature as a call, an argument a line where it is long."""
    whole = inspect.signature(function)
    arguments, starred = [], False
    for one in whole.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not starred:
            arguments.append("*")
        starred = starred or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        star = str(one).partition(one.name)[0]
        default = "" if one.default is one.empty else f"={_default(one.default)}"
        arguments.append(f"{star}{one.name}{default}")
    returned = whole.return_annotation
    known = returned is not inspect.Signature.empty and not inspect.isclass(function)
    end = f" -> {_plain(returned)}" if known else ""
    line = f"{name}({', '.join(arguments)}){end}"
    if len(line) <= 96:
        return line
    inside = textwrap.fill(", ".join(arguments), 92, break_on_hyphens=False)
    return f"{name}(\n{textwrap.indent(inside, '    ')}\n){end}"


def _default(value: Any) -> str:
    return "..." if callable(value) or type(value).__module__.startswith("her2") else repr(value)


def _plain(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text or str(annotation)


def markdown(text: str) -> str:
    """A docstring as Markdown: code in single marks, examples and forms as blocks."""
    blocks, lines = [], re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL).split("\n")
    for example, group in _grouped(lines):
        block = "\n".join(group).strip("\n")
        if block:
            blocks.append(f"```pycon\n{textwrap.dedent(block)}\n```" if example else block)
    return "\n\n".join(blocks)


def _grouped(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines, those of examples apart: from ``>>>`` to the next empty line."""
    group: list[str] = []
    example = False
    for line in lines:
        starts = line.lstrip().startswith(">>>")
        if starts and not example:
            yield False, group
            group, example = [], True
        elif example and not line.strip():
            yield True, group
            group, example = [], False
        group.append(line)
    yield example, group


def _fitted() -> str:
    """What every fit answers, and what the fits of one family answer besides."""
    import her2bayes
    from her2bayes.results.fitted import Fitted

    parts = ["## What a fit answers\n", markdown(inspect.getdoc(Fitted) or "") + "\n"]
    parts += _members(Fitted, set())
    common = set(dir(Fitted))
    functions = (getattr(her2bayes, n) for n in ORDER["Fits"] if n in her2bayes.__all__)
    for module in dict.fromkeys(function.__module__ for function in functions):
        for _, kind in sorted(inspect.getmembers(importlib.import_module(module), inspect.isclass)):
            public = kind.__module__ == module and not kind.__name__.startswith("_")
            if public and issubclass(kind, Fitted):
                text = markdown(inspect.getdoc(kind) or "")
                parts += [f"### {kind.__name__}\n\n{text}\n", *_members(kind, common)]
    return "\n".join(parts)


_INSIDE = {"drawn", "packed", "unpacked", "section", "part", "family", "settings"}


def _members(kind: type, without: set[str]) -> Iterator[str]:
    """One paragraph a public method or property of a class and of its private bases."""
    bases = [base for base in kind.__mro__ if base is kind or base.__name__.startswith("_")]
    found = {name: value for base in reversed(bases) for name, value in vars(base).items()}
    for name, value in found.items():
        inner = getattr(value, "fget", None) or getattr(value, "func", None) or value
        if name.startswith("_") or name in without | _INSIDE or not inspect.isfunction(inner):
            continue
        call = f"fit.{name}" if inner is not value else signature(inner, f"fit.{name}")
        yield f"`{' '.join(call.split())}`\n\n{_quoted(markdown(inspect.getdoc(inner) or ''))}\n"


def _quoted(text: str) -> str:
    return textwrap.indent(text, "> ", lambda _: True)


def _kinds() -> str:
    """Grammar and table of the kinds of estimands."""
    from her2bayes import estimand

    rows = [
        f"| `{name}` | {kind.words} | {kind.unit or ''} | "
        f"{', '.join(f'`{estimand.FITTED_BY[f]}`' for f in kind.families)} |".replace(
            " or ", "`, `"
        )
        for name, kind in estimand.KINDS.items()
    ]
    head = ["| kind | what | unit | answered by |", "|---|---|---|---|"]
    text = markdown(inspect.getdoc(estimand) or "")
    return "\n".join(["## Estimands\n", text, "", *head, *rows, ""])


if __name__ == "__main__":
    run(main)
