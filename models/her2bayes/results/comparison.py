"""Published | Reproduced | Posterior of a study and fits, as an object that prints itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.page.evidence_table import join
from her2bayes.page.numbers import interval

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.results.fitted import Fitted


@dataclass(frozen=True, repr=False)
class Comparison:
    """Evidence table of one study; ``frame`` has the columns of ``evidence.csv``."""

    study: str
    frame: pd.DataFrame

    @property
    def short(self) -> pd.DataFrame:
        """Rows that are printed or estimated, in the columns that are read first."""
        rows = []
        for row in self.frame.to_dict("records"):
            reproduced, posterior = (
                interval(row[n], row[f"{s}_lower"], row[f"{s}_upper"], unit=row["unit"])
                if pd.notna(row[n])
                else ""
                for n, s in (("reproduced", "reproduced"), ("posterior_median", "posterior"))
            )
            cells = (row["estimand"], row["published_text"], reproduced, posterior, row["verdict"])
            rows.append(cells)
        head = ["estimand", "Published", "Reproduced", "Posterior", "verdict"]
        return pd.DataFrame(rows, columns=head).fillna("")

    def __str__(self) -> str:
        """Print Published | Reproduced | Posterior."""
        return str(self.short.to_string(index=False, max_colwidth=60))

    def __repr__(self) -> str:
        """One line."""
        return f"<Comparison of {self.study}: {len(self.frame)} rows>"


def compare(study: Study, *fits: Fitted) -> Comparison:
    """Put the printed numbers of ``study`` beside what ``fits`` answer, audited."""
    from her2bayes.audit.audit import audit, evidence_rows

    audited = evidence_rows(study, audit(study))
    estimates = pd.concat([fit.estimates() for fit in fits], ignore_index=True)
    classical = pd.concat([fit.classical() for fit in fits], ignore_index=True)
    return Comparison(study.id, join(study, audited, estimates, classical))
