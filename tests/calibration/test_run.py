"""Calibration: simulators agree with the stated priors, mutants are caught, runs resume."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.calibration import run
from her2bayes.calibration.designs import Design, chosen, kinds
from her2bayes.errors import BadInput
from her2bayes.inference import densities, engine
from her2bayes.joint import calibration as joint
from her2bayes.page import fit_card as report
from her2bayes.rates.calibration import EXCHANGEABLE
from her2bayes.survival import calibration as survival
from her2bayes.survival.calibration import EDGES, cells_of
from her2bayes.synthesis.calibration import counted_shares, printed_pairs
from her2bayes.transition.calibration import draw_transition_dirichlet, transitions_of

PAIRS = Design("her2_transition_dirichlet", "pairs", {"a": 60, "b": 25}, factor="group")


def exact_rows(rng: np.random.Generator, data: xr.Dataset, mutant: str = "") -> xr.Dataset:
    """Exact posterior of the Dirichlet rows (conjugate), or a wrong one."""
    counts = data["counts"].values
    if mutant == "transposed":
        counts = counts.transpose(0, 2, 1)
    if mutant == "prior returned":
        counts = counts * 0
    weight = 3.0 * (np.full((3, 3), 0.2) + np.eye(3) * 0.4)
    if mutant == "prior too strong":
        weight = weight * 10
    rows = np.array(
        [[rng.dirichlet(weight[i] + counts[s, i], 1000) for i in range(3)] for s in range(2)]
    )
    share = np.array([rng.dirichlet(1.0 + counts[s].sum(1), 1000) for s in range(2)])
    names = {"stratum": data["stratum"].values, "her2_primary": data["her2"].values}
    return xr.Dataset(
        {
            "transition": (("stratum", "her2_primary", "draw", "her2"), rows),
            "primary_share": (("stratum", "draw", "her2_primary"), share),
        },
        coords={**names, "her2": data["her2"].values},
    ).expand_dims(chain=1)


def study_by_study(mutant: str, number: int = 300) -> Any:
    """Summary of exact posteriors of simulated studies."""
    rows = []
    for n in range(number):
        rng = np.random.default_rng([7, n])
        made = draw_transition_dirichlet(rng, PAIRS)
        answers = transitions_of(PAIRS, made.data, exact_rows(rng, made.data, mutant))
        found = {
            name: run._answer(rng, answers[name].transpose("chain", "draw").values, truth)
            for name, truth in made.truth.items()
        }
        rows.append({"number": n, "failed": "", "answers": found})
    return run.summary(rows)


@pytest.mark.slow
def test_exact_posteriors_are_calibrated() -> None:
    table = study_by_study("")
    assert table["uniform"].all()
    assert table["coverage"].between(0.91, 0.98).all()
    assert table["z_sd"].between(0.8, 1.2).all()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ["transposed", "prior returned", "prior too strong"])
def test_wrong_posteriors_are_caught(mutant: str) -> None:
    table = study_by_study(mutant)
    assert not table["uniform"].all()
    if mutant == "prior returned":
        # each margin alone is calibrated when nothing was learned: the joint density tells
        bad = set(table.loc[~table["uniform"], "answer"])
        assert "log_likelihood" in bad


@cache
def cohorts(number: int = 120) -> tuple[np.ndarray, xr.Dataset]:
    """Hazards (study, interval) from Gamma(2, 100 months), and patients aggregated as real ones."""
    rng = np.random.default_rng(8)
    hazard = rng.gamma(2.0, 1 / 100.0, (number, len(EDGES) - 1))
    some = Design("survival", "", {f"{n}": 100 for n in range(30)}, factor="study")
    parts = [cells_of(rng, some, hazard[n : n + 30]) for n in range(0, number, 30)]
    return hazard, xr.concat([part.drop_vars("study") for part in parts], "study", data_vars="all")


def hazards_study_by_study(mutant: str) -> Any:
    """Summary of exact posteriors of independent hazards by interval (gamma is conjugate)."""
    rows = []
    truths, cells = cohorts()
    for n, hazard in enumerate(truths):
        rng = np.random.default_rng([9, n])
        seen, spent = (cells[k].values[n] for k in ("events", "person_months"))
        events, months = seen, spent
        if mutant == "exposure off by one interval":
            months = np.roll(months, 1)
        if mutant == "prior returned":
            events, months = 0 * events, 0 * months
        draws = rng.gamma(2.0 + events, 1 / (100.0 + months), (1000, len(hazard)))
        answers = {f"hazard[{j}]": (hazard[j], draws[:, j]) for j in range(0, len(hazard), 2)}
        likelihood = [(seen * np.log(h) - spent * h).sum(axis=-1) for h in (hazard, draws)]
        answers["log_likelihood"] = (float(likelihood[0]), likelihood[1])
        found = {k: run._answer(rng, d, float(t)) for k, (t, d) in answers.items()}
        rows.append({"number": n, "failed": "", "answers": found})
    return run.summary(rows)


def test_exact_hazards_are_calibrated() -> None:
    assert hazards_study_by_study("")["uniform"].all()


@pytest.mark.parametrize("mutant", ["exposure off by one interval", "prior returned"])
def test_wrong_hazards_are_caught(mutant: str) -> None:
    assert not hazards_study_by_study(mutant)["uniform"].all()


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(kinds()))
def test_simulator_draws_from_the_stated_prior(model: str) -> None:
    """Distribution of every answer over NumPy draws against the graph's own prior draws."""
    design = chosen(model)
    kind = kinds()[model]
    first = kind.draw(np.random.default_rng([3, 0]), design).data
    drawn = {  # answers that need no patients, no counts, no lists of tables
        "her2_joint": lambda rng: joint.believed(rng, design.levels)[1],
        "study_shares": lambda rng: counted_shares(rng, design)[1],
        "study_transitions": lambda rng: printed_pairs(rng, design)[2],
        "survival": lambda rng: survival.believed(rng, design)[1],
    }.get(model, lambda rng: kind.draw(rng, design).truth)
    truths = [drawn(np.random.default_rng([3, n])) for n in range(1500)]
    with engine.compiler_flags():
        prior, _ = densities.prior_draws(design.build(first), 1)
    if model == "response":  # the share of exchangeable draws has seen data, the prior has not
        prior["together"] = xr.full_like(prior["together"], EXCHANGEABLE)
    if model == "adverse_events_two_arms":
        system = xr.DataArray(list(design.parent), dims="event", coords={"event": design.levels})
        same = prior["same_prior"].sel(system=system).drop_vars("system")
        prior = prior.sel(event=design.levels).assign(same=same)
    answers = kind.answers(design, first, prior)
    for name in truths[0]:
        if name == "log_likelihood":
            continue  # of other data in every draw
        mine = np.array([truth[name] for truth in truths])
        theirs = np.asarray(answers[name]).ravel()
        assert stats.ks_2samp(mine, theirs).pvalue > 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "by"), [("her2_distribution", "hr_status"), ("response", "prior_trop2")]
)
def test_a_model_is_calibrated_in_a_short_run(model: str, by: str) -> None:
    """50 studies of 247 or 64 patients: the reduced form of ``bash scripts/run calibrate``."""
    design = chosen(model, by=by)
    rows = [run.simulate(design, 11, n) for n in range(50)]
    table = run.summary(rows)
    assert table["uniform"].all()
    assert table["coverage"].mean() == pytest.approx(0.95, abs=0.03)
    assert sum(bool(row["failed"]) for row in rows) <= 5


class Here:
    """A client that computes at once, in this process."""

    def map(self, function: Any, *columns: Any, **_: Any) -> list[Any]:
        return [function(*row) for row in zip(*columns, strict=True)]


def test_a_stopped_run_goes_on_and_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    calls: list[int] = []

    def fake(design: Design, seed: int, number: int) -> Any:
        calls.append(number)
        row = {"number": number, "failed": "", "answers": {}, "seconds": {}}
        return type("Done", (), {"result": lambda self: row})()

    monkeypatch.setattr(run, "simulate", fake)
    monkeypatch.setattr(distributed, "as_completed", iter)
    plan = run.Plan(PAIRS, 1, 6, tmp_path / "run.jsonl")
    assert [row["number"] for row in run.run(plan, Here)] == list(range(6))
    text = plan.file.read_text("utf-8").splitlines()
    plan.file.write_text("\n".join([*text[:4], text[4][:9]]), "utf-8")  # killed in a write
    calls.clear()
    assert len(run.run(plan, Here)) == 6
    assert calls == [3, 4, 5]
    other = run.Plan(PAIRS, 2, 6, plan.file)
    with pytest.raises(BadInput, match="another model, design, seed or version"):
        run.run(other, Here)


@pytest.mark.parametrize("first", [True, False])
def test_studies_that_fail_are_joined_by_more_never_exchanged(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, int, Path]] = []

    def fake(plan: run.Plan, *_: Any) -> list[dict[str, Any]]:
        looks.append((plan.seed, plan.simulations, plan.file))
        return [{}] * plan.simulations

    def record(plan: run.Plan, command: str, runs: Any) -> dict[str, Any]:
        assert [len(rows) for _, rows in runs] == [n for _, n, _ in looks]
        return {"passed": first or len(runs) == 2}

    monkeypatch.setattr(run, "run", fake)
    monkeypatch.setattr(run, "passport", record)
    found = run.calibrate("her2_transition", simulations=30, seed=7)
    assert found.passed
    assert [(seed, n) for seed, n, _ in looks] == ([(7, 30)] if first else [(7, 30), (7, 60)])
    assert len({file for *_, file in looks}) == 1
    assert len(found.rows) == looks[-1][1]


def test_passports_in_the_package_say_what_made_them() -> None:
    for record in report.passports():
        assert record["runs"][-1]["simulations"] >= 1000
        assert record["command"].startswith("bash scripts/run calibrate ")
        assert record["passed"] == (record["runs"][-1]["uniform"] and record["runs"][-1]["covers"])
        json.dumps(record)
        assert record["model"] in kinds()
    events = next(r for r in report.passports() if r["model"] == "adverse_events")
    assert (
        f"ni2025-events (64 patients): {events['runs'][-1]['simulations']} simulated"
        in report.sentence(events)
    )
    assert "none" in report.passport_line("no_such_model", {})


def made_as(record: dict[str, Any]) -> dict[str, Any]:
    """Provenance of a fit that is exactly what a record is of."""
    priors = report._default_priors(record["model"])
    return {"source": record["source"], "patients": record["patients"], "priors": priors}


def test_a_record_is_shown_for_its_own_model_computation_priors_and_design_only() -> None:
    for record in report.passports():
        own = made_as(record)
        assert report.passport_line(record["model"], own) == report.sentence(record)
        for change, word in (
            ({"patients": {"yes": 1, "no": 2}}, "another design"),
            ({"patients": {}}, "another design"),
            ({"source": "0"}, "an earlier text of the model"),
            ({"method": "exact mixture over all 9 tables"}, "another computation"),
            ({"priors": {"transition": "Dirichlet(stays=0.3, total=1.5)"}}, "other priors"),
        ):
            said = report.passport_line(record["model"], {**own, **change})
            assert said.startswith("none for this fit")
            assert word in said
            assert "calibrated at" not in said


def test_unknown_model_and_factor() -> None:
    with pytest.raises(BadInput, match="no simulator"):
        chosen("horoscope", "shi2023", "site")
    with pytest.raises(BadInput, match="no HER2 table"):
        chosen("her2_distribution", "shi2023", "shoe_size")
