"""A report of fitted analyses: one folder with page, tables, figures, fits and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.page.report import Outcome, Part, write
from her2bayes.page.shared import check_shared

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.results.fitted import Fitted


def report(
    fits: Fitted | Sequence[Fitted],
    *,
    out: str | Path,
    title: str = "",
    suppress_below: int = 0,
    study: Study | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    command: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write one folder about one fit or several: what a reader needs, and what a script reads.

    ``report.html`` (and the same as ``report.md``), ``estimates.csv`` (columns of the evidence
    table), ``classical.csv``, ``checks.csv`` (predictive checks), ``monte_carlo.csv``,
    ``figures/`` as SVG, ``tables/`` for LaTeX, ``fits/`` that ``load_fit`` reads, and ``run.json``
    (versions, seed, settings, digests). All appear together or not at all.

    ``title`` heads the page; ``tables`` are further ones by the name of their file; ``command`` is
    what a script was asked, for the page's record. With ``suppress_below`` counts from 1 to one
    less are hidden, and neither classical rows nor fits are written. With ``study`` the printed
    numbers of a paper stand beside the fits, audited, as ``reproduce`` shows them: evidence.csv
    and findings.csv.

    Returns the folder, its record and what did not converge; printing it says both. Raises
    ``BadInput`` for a folder that cannot be written, or that holds files when a report to share is
    asked for.

    >>> import her2bayes as hb
    >>> hb.report([fit, os], out="results")  # doctest: +SKIP
    """
    known = list(fits) if isinstance(fits, Sequence) else [fits]
    folder = Path(out)
    if not known:
        raise BadInput(Fault("nothing to report", remedy="give one fit or several"))
    if study is not None and suppress_below:
        raise_if([Fault("suppress_below is for patients", remedy="leave it out for a study")])
    check_shared(folder, suppress_below)
    parts = [fit.part(suppress_below=suppress_below) for fit in known]
    settings = known[0].settings
    settings = replace(settings, quick=any(fit.settings.quick for fit in known))
    if study is not None:
        from her2bayes.reproduce.build import write_study

        return write_study(study, parts, folder, settings, fits=_saved(known))
    about = {**parts[0].about, **({"title": title} if title else {})}
    parts[0] = replace(parts[0], about=about, tables={**parts[0].tables, **(tables or {})})
    if suppress_below:
        return write(parts, folder, settings, command=command, below=suppress_below)
    more = [_with_tables(part, fit) for part, fit in zip(parts, known, strict=True)]
    return write(more, folder, settings, command=command, beside=_saved(known))


def _with_tables(part: Part, fit: Fitted) -> Part:
    """The part with its classical rows and predictive checks as files."""
    from her2bayes.inference.predictive import predictive_checks

    checks = [
        predictive_checks(one.tree).assign(fit=name, fit_id=one.fit_id)
        for name, one in fit.fits.items()
        if {"replicates", "observed_data"} <= set(one.tree.children)
    ]
    found = {"classical": part.classical}
    found |= {"checks": pd.concat(checks, ignore_index=True)} if checks else {}
    return replace(part, tables={**found, **part.tables})


def _saved(fits: Sequence[Fitted]) -> dict[str, bytes]:
    from her2bayes.results.fitted import content

    return {f"fits/{fit.family}-{fit.fit_id}.nc": content(fit) for fit in fits}
