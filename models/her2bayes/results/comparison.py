"""Published | Reproduced | Posterior of a study and fits, as an object that prints itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from her2bayes.page.evidence_table import join, together
from her2bayes.page.key_results import KeyResults, key_results
from her2bayes.page.numbers import interval

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

HEAD = ("Estimand", "Published", "Reproduced", "Posterior", "Verdict")
SHOWN = 60
"""Rows that printing shows; ``frame`` and ``to_csv`` have all."""


class Answers(Protocol):
    """What a fit must answer to stand beside printed numbers."""

    def estimates(self) -> pd.DataFrame:
        """One row an estimand, posterior."""

    def classical(self) -> pd.DataFrame:
        """One row an estimand, classical."""


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Evidence table of one study beside fits.

    ``frame`` has the columns of ``evidence.csv``: one row a printed number, in the paper's order,
    then what is estimated and not printed. Percentages are in percent, times in months.
    """

    study: str
    frame: pd.DataFrame
    headline: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_results(self) -> KeyResults:
        """The paper's headline results: published, reproduced and posterior, a row each."""
        return key_results(self.study, self.frame, self.headline)

    @property
    def short(self) -> pd.DataFrame:
        """All rows in the columns that are read first, as text."""
        rows = [
            (
                row["estimand"] + (f" ({row['reading']})" if row["reading"] else ""),
                row["published_text"],
                _shown(row, "reproduced", "reproduced"),
                _shown(row, "posterior_median", "posterior"),
                row["verdict"].replace("_", " "),
            )
            for row in self.frame.to_dict("records")
        ]
        return pd.DataFrame(rows, columns=list(HEAD))

    @property
    def answered(self) -> pd.DataFrame:
        """Rows that were printed and have a posterior, in the columns that are read first."""
        known = (self.frame["claim_id"] != "") & self.frame["posterior_median"].notna()
        return self.short[known.to_numpy()]

    def to_csv(self, file: str | Path) -> Path:
        """Write all rows as ``evidence.csv`` has them, whole or not at all."""
        from her2bayes.files import csv_text, publish

        path = Path(file)
        publish(path.parent, {path.name: csv_text(self.frame)})
        return path

    def __str__(self) -> str:
        """Print Published | Reproduced | Posterior: printed numbers with a posterior first."""
        first, more = self._first()
        text = str(first.to_string(index=False, max_colwidth=60))
        return "\n".join(filter(None, (self._heading(), text, more)))

    def _repr_html_(self) -> str:
        from html import escape

        first, more = self._first()
        table = str(first.to_html(index=False, border=0, escape=True))
        return f"<p>{escape(self._heading())}</p>{table}<p>{escape(more)}</p>"

    def _first(self) -> tuple[pd.DataFrame, str]:
        rows = self.answered if len(self.answered) else self.short
        left = len(self.frame) - min(len(rows), SHOWN)
        return rows.head(SHOWN), f"and {left} more rows: .frame, .to_csv(file)" if left else ""

    def _heading(self) -> str:
        printed = self.frame[self.frame["claim_id"] != ""]
        counts = printed["verdict"].str.replace("_", " ").value_counts()
        verdicts = ", ".join(f"{n} {name}" for name, n in counts.items() if name)
        counted = ", ".join(filter(None, (f"{len(printed)} printed numbers", verdicts)))
        return f"{self.study}: {counted}; intervals 95 %: reproduced confidence, posterior credible"

    def __repr__(self) -> str:
        """One line."""
        return f"<Comparison of {self.study}: {len(self.frame)} rows>"


def _shown(row: Mapping[Any, Any], value: str, limits: str) -> str:
    """Number with its interval and unit; empty where there is none."""
    if pd.isna(row[value]):
        return ""
    unit = str(row["unit"])
    text = interval(row[value], row[f"{limits}_lower"], row[f"{limits}_upper"], unit=unit)
    return f"{text} {unit}".strip()


def compare(study: Study, *fits: Answers) -> Comparison:
    """Put the printed numbers of ``study`` beside what ``fits`` answer, audited.

    Every printed number gets the verdict of the audit; where a fit answers its estimand, the
    posterior median with 95 % CrI. Percentages in percent, times in months. A fit of one's
    own patients is put beside the paper in the same way.

    >>> import her2bayes as hb
    >>> paper = hb.load_study("shi2023")
    >>> print(hb.compare(paper, hb.fit_distribution(paper)))  # doctest: +SKIP
    """
    from her2bayes.audit.audit import audit, evidence_rows

    audited = evidence_rows(study, audit(study))
    estimates = together([fit.estimates() for fit in fits])
    classical = together([fit.classical() for fit in fits])
    return Comparison(study.id, join(study, audited, estimates, classical), study.headline)
