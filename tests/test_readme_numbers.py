"""Numbers that README and its neighbours quote are those of the records they stand for."""

from __future__ import annotations

import inspect
import json
import re
from math import log
from pathlib import Path
from typing import Any

import pytest

from her2bayes.audit.audit import audit
from her2bayes.calibration.designs import kinds
from her2bayes.calibration.run import COVERAGE, tolerance
from her2bayes.cohorts import kept
from her2bayes.cohorts.validation_exercise import MEMBERS, PRINTED, QUANTITIES
from her2bayes.evidence import simulate as example
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.inference import sampling
from her2bayes.page.shared import _DIGITS
from reference import coverage_of_studies

ROOT = Path(__file__).resolve().parents[1]


def words(path: str) -> str:
    """Text of a file in one line, its marks of quotation left out."""
    return re.sub(r"\s*\n(> )?\s*", " ", (ROOT / path).read_text("utf-8"))


README = words("README.md")
RECORD: dict[str, Any] = json.loads(
    (ROOT / "tests/reference/reconstruction_validation.json").read_text("utf-8")
)
FREE = [name for name in QUANTITIES if name not in PRINTED]
WHOLE = [name for name in FREE if "hazard" not in name]
WITHIN = [name for name in FREE if "hazard" in name]
JUDGED, COHORTS = ("prior", "real"), ("gbsg", "rotterdam", "msk")


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def test_coverage_of_reconstructed_cohorts_is_the_record() -> None:
    """Every quantity that the printed numbers leave open, none picked out."""
    prior, real = (RECORD[name] for name in JUDGED)
    total = sum(RECORD["exercises"][name] for name in COHORTS)
    head = (
        f"| | from the prior, {RECORD['exercises']['prior']} cohorts | real patients, {total} sub"
    )
    assert head in README
    for name in WHOLE:
        cells = [f"{percent(part[name]['covered'])} %" for part in (prior, real)]
        widths = [part[name]["width"] for part in (prior, real)]
        if name.startswith("survival"):
            shown = " and ".join(percent(width) for width in widths) + " points"
        else:
            shown = " and ".join(f"{width:.1f}" for width in widths) + " months"
        row = rf"\| {name}[^|]*\| {cells[0]} \| {cells[1]} \| {shown} \|"
        assert re.search(row, README), row
    within = [part[name]["covered"] for part in (prior, real) for name in WITHIN]
    assert f"held in {percent(min(within))} to {percent(max(within))} % of exercises" in README


def test_coverage_of_studies_left_out_is_the_record() -> None:
    """Made by ``python tests/reference/coverage_of_studies.py``, of these studies and models."""
    record = json.loads(coverage_of_studies.FILE.read_text("utf-8"))
    said = {"share": "in the four studies that print it, {} and {} of {}",
            "transition": "of their tables of primary and recurrence, {} and {} of {}"}  # fmt: skip
    for estimand, text in said.items():
        made = record[estimand]
        made_of = coverage_of_studies.of(estimand, made["studies"])
        assert made_of == {name: made[name] for name in made_of}
        half, most = made["coverage"]
        shown = text.format(half["covered"], most["covered"], most["predictions"])
        assert shown + "." in README or shown + ";" in README, shown


def test_what_falls_short_is_said() -> None:
    """The lowest coverage among all quantities under the prior, and the lowest by cohort."""
    worst = min(WHOLE, key=lambda name: RECORD["prior"][name]["covered"])
    row = RECORD["prior"][worst]
    low, high = percent(row["covered_lower"]), percent(row["covered_upper"])
    said = f"The {percent(row['covered'])} % (of {row['exercises']} exercises; 95 % CI"
    assert f"{said} {low} to {high} %) are too few" in README
    assert RECORD["conclusions"]["ranks are uniform"]
    assert all(RECORD["prior"][name]["uniform"] for name in QUANTITIES)
    by_cohort = {(o, n): RECORD[o][n]["covered"] for o in COHORTS for n in FREE}
    origin, name = min(by_cohort, key=by_cohort.__getitem__)
    assert (origin, name) == ("msk", "survival at 24 months")
    assert f"{percent(by_cohort[origin, name])} % for {name} of MSK 2018" in README


def test_widths_and_effective_members_are_the_record() -> None:
    ratios = [RECORD[o][n]["width_of_counts"] for o in JUDGED for n in WHOLE]
    assert f"{min(ratios):.2f} to {max(ratios):.2f} times as wide" in README
    median = min(RECORD[o][n]["ess_median"] for o in JUDGED for n in QUANTITIES)
    worst = min(RECORD[o][n]["ess_lowest"] for o in JUDGED for n in QUANTITIES)
    said = f"effectively {median:.0f} or more in the median exercise, {worst:.0f} in the worst"
    assert said in README
    widest = max(RECORD["real"][n]["width"] for n in WITHIN)
    assert widest == pytest.approx(30.0)  # limits at -15 and 15 stand for no limit
    assert MEMBERS == 19


def test_printed_ratios_are_fixed_by_rounding() -> None:
    for origin in JUDGED:
        for name in PRINTED:
            assert RECORD[origin][name]["width"] < 0.01  # on the log scale


def test_sizes_of_both_papers() -> None:
    shi, ni = (load_study(study_folder(name)) for name in ("shi2023", "ni2025"))
    assert f"Shi 2023 ({shi.meta['patients']} recurrent cancers)" in README
    assert f"Ni 2025 ({ni.meta['patients']} patients on trastuzumab deruxtecan)" in README


def test_the_finding_quoted_is_one_of_the_audit() -> None:
    quoted = re.search(r"Results: evolution prints .*?19 = 25\.", README)
    assert quoted
    sentences = list(audit(load_study(study_folder("shi2023"))).findings["sentence"])
    assert any(quoted.group().rstrip(".") in sentence for sentence in sentences)


def test_truth_of_the_invented_cohort() -> None:
    """Weibull of shape 1.2 and scale 57: median 57 * log(2)^(1 / 1.2) = 42.0 months."""
    assert "for the invented 500 patients" in README
    assert example.HAZARD_RATIO["positive"] == 0.6
    assert "weibull_hazard(edges, 1.2, 57.0," in inspect.getsource(example)
    assert 57 * log(2) ** (1 / 1.2) == pytest.approx(42, abs=0.05)
    assert "The truth behind them is 42 months and 0.6." in README


def test_recovery_of_the_joint_model_is_the_record() -> None:
    text = (ROOT / "tests/reference/joint_recovery.json").read_text("utf-8")
    discordance, *ratios = json.loads(text)["answers"].values()
    (number,) = {one["cohorts"] for one in (discordance, *ratios)}
    shares = [f"{100 * one['share']:.1f}" for one in (discordance, *ratios)]
    said = f"In {number} simulated cohorts of 800 pairs with one reading in ten wrong and 500"
    assert (
        f"{said} tumours read twice, 95 % CrI held the true discordance in {shares[0]} %" in README
    )
    assert f"and the log hazard ratios by true class in {shares[1]} and {shares[2]} %" in README
    naive, left = (100 * discordance[name] for name in ("naive_bias", "bias"))
    assert f"is {naive:.1f} points too high on average, the model's {abs(left):.1f}" in README
    signs = {left < 0: "low", left > 0: "high"}
    assert f"the model's {abs(left):.1f} points too {signs[True]}" in README
    naive = [100 * one["naive_bias"] / -one["truth"] for one in ratios]
    kept = [100 * one["bias"] / -one["truth"] for one in ratios]
    assert f"Cox's ratios by class as read lose {naive[0]:.0f} and {naive[1]:.0f} %" in README
    assert f"on the log scale, the model's {kept[0]:.0f} and {kept[1]:.0f} %" in README


def test_passports_are_of_a_thousand_studies() -> None:
    found = sorted((ROOT / "data/passports").glob("*.json"))
    commands = [json.loads(path.read_text("utf-8"))["command"] for path in found]
    assert commands
    asked = [int(command.split("--simulations ")[1].split()[0]) for command in commands]
    assert min(asked) >= 1000
    without = set(kinds()) - {path.name.partition("-")[0] for path in found}
    assert without == {"study_transitions"}
    assert "The model of transitions over studies has no passport yet" in README


def test_the_record_of_the_joint_model() -> None:
    record = json.loads(
        (ROOT / "data/passports/her2_joint-msk2018-quarter.json").read_text("utf-8")
    )
    first, both = record["runs"]
    assert (both["simulations"], sum(record["patients"].values())) == (2000, 200)
    assert "two thousand studies of 200 pairs: no fit failed" in README
    assert both["failed_fits"] == 0
    low, high = (100 * both[f"coverage_{end}"] for end in ("lowest", "highest"))
    assert f"{len(both['answers'])} intervals cover {low:.1f} to {high:.1f} %" in README
    assert f"one covered {100 * first['coverage_lowest']:.1f} %" in README
    asked = 100 * (COVERAGE - tolerance(first["simulations"]))
    assert f"where {asked:.1f} % are asked for" in README
    covered = [answer["covers"] for answer in first["answers"]]
    assert covered.count(False) == 1


def test_smaller_claims() -> None:
    assert kept.KEPT == 250
    assert "250 cohorts of each chain" in words("data/reconstructed/README.md")
    assert sampling.WORKERS == 2
    assert "By default they start two processes" in words("docs/README.md")
    assert _DIGITS == 3
    assert "numbers of the models carry three significant digits" in words("reports/README.md")
