"""Leave each published study out and predict it from the others; write coverage_of_studies.json.

python tests/reference/coverage_of_studies.py

The default model, seed and studies; two minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
QUESTIONS: dict[str, dict[str, str]] = {
    "share": {"moderators": "hr_status"},
    "transition": {"pairs": "primary to recurrence"},
}


def of(estimand: str, names: Iterable[str]) -> dict[str, Any]:
    """What the numbers depend on: the studies' contents, and the model by its meaning."""
    import her2bayes as hb
    from her2bayes.inference.meaning import meaning
    from her2bayes.synthesis import study_shares, study_transitions

    build = {"share": study_shares.build, "transition": study_transitions.build}[estimand]
    return {
        "studies": {name: hb.load_study(name).digest for name in names},
        "code": meaning(build),
    }


def main() -> int:
    """Fit, leave out, count."""
    import her2bayes as hb
    from her2bayes.version import versions

    made: dict[str, Any] = {"call": "python tests/reference/coverage_of_studies.py"}
    made["versions"] = versions()
    everything = list(hb.studies()["id"])
    for estimand, asked in QUESTIONS.items():
        fit = hb.synthesise(everything, estimand, influence=True, **asked)
        used = fit.studies.loc[fit.studies["left_out"] == "", "study"]
        made[estimand] = of(estimand, used) | {
            "coverage": fit.coverage().to_dict("records"),
            "p": fit.refitted["influence"]["p"].round(4).to_list(),
        }
    FILE.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
