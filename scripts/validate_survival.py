"""Check drifting hazard ratios by repeated simulated trials: coverage, and what they cost.

Takes about four seconds a trial on two cores. Writes the figures as JSON; those of 200 trials are
in tests/reference/nonproportional.json.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run


def main(
    simulations: Annotated[int, typer.Option(min=1, help="Trials of each kind.")] = 200,
    out_file: Annotated[Path, typer.Option("--out", help="JSON file to write.")] = Path(
        "reports/out/nonproportional.json"
    ),
) -> None:
    import json

    from her2bayes.files import publish
    from her2bayes.survival.calibration import validate

    found = validate(simulations, lambda text: log.print(plain(text)))
    command = {"call": f"bash scripts/run validate_survival --simulations {simulations}"}
    text = json.dumps({**command, **found}, indent=1) + "\n"
    publish(out_file.parent, {out_file.name: text})
    out.print(plain(text))


if __name__ == "__main__":
    run(main)
