"""Fit simulated cohorts of known truth with the joint model; write joint_recovery.json.

python tests/reference/joint_recovery.py [COHORTS]

COHORTS is 200 by default (half an hour on one core). A run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

FILE = Path(__file__).with_suffix(".json")
COLUMNS = ("median", "lower", "upper", "naive")
AT_ONCE = 10


def record(rows: pd.DataFrame) -> dict[str, Any]:
    """Rows of ``recovery`` as the file holds them: what they say, and every cohort's numbers."""
    from her2bayes.joint.calibration import recovered
    from her2bayes.version import versions

    rows = rows.assign(**{name: rows[name].round(4) for name in COLUMNS})
    made = {str(answer): {name: part[name].to_list() for name in COLUMNS}
            for answer, part in rows.groupby("answer", sort=False)}  # fmt: skip
    return {
        "call": f"python tests/reference/joint_recovery.py {rows['cohort'].nunique()}",
        "versions": versions(),
        "answers": recovered(rows),
        "cohorts": made,
    }


def main(asked: list[str]) -> int:
    from her2bayes.joint.calibration import recovery, rows_of

    wanted = int(asked[0]) if asked else 200
    rows = rows_of(json.loads(FILE.read_text("utf-8"))) if FILE.exists() else pd.DataFrame()
    done = rows["cohort"].nunique() if len(rows) else 0
    while done < wanted:
        more = recovery(min(AT_ONCE, wanted - done), first=done)
        rows = pd.concat([rows, more])
        done = rows["cohort"].nunique()
        FILE.write_text(json.dumps(record(rows)) + "\n", "utf-8")
        sys.stdout.write(f"{done} of {wanted} cohorts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
