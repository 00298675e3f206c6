"""A fragile and a robust conclusion in simulated patients; a run that was killed continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from her2bayes.distribution import sensitivity as shares
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.tables import conclusions_of
from her2bayes.evidence.simulate import status_counts
from her2bayes.inference.sampling import Sampling
from her2bayes.sensitivity import run
from her2bayes.sensitivity.summary import (
    FAILS,
    HOLDS,
    NO_ANSWER,
    NOT_VARIED,
    UNCERTAIN,
    Limits,
    summary,
)
from her2bayes.sensitivity.target import BASE, REFIT, REWEIGHTED, Target

SAMPLING = Sampling(draws=600, tune=600, chains=4)


def asked(**texts: str):
    return conclusions_of(
        [
            {"conclusion_id": name, "conclusion": text, "locator": "Abstract", "note": ""}
            for name, text in texts.items()
        ]
    )


@pytest.fixture
def here(monkeypatch):
    from her2bayes.sensitivity import worker
    from her2bayes.sensitivity import worker as execution

    def remote(targets, todo, sampling, store, client, fits):
        for job in todo:
            yield job, worker.remote(job, targets[job.target], sampling, store, fits)

    monkeypatch.setattr(execution, "_remote", remote)
    return lambda: None


def target(patients, share, levels, axes_kept, **texts: str) -> Target:
    counts = status_counts(
        np.random.default_rng(3), patients, np.array(share), levels=levels, factor="hr_status"
    )
    axes = [
        replace(axis, values=tuple(v for v in axis.values if v in axes_kept[axis.name]))
        for axis in shares.axes({"hr_status": counts}, "hr_status")
        if axis.name in axes_kept
    ]
    data = {"factor": "hr_status", "parent": "", "counts": counts, "others": {}}
    return Target("distribution", texts["name"], asked(**_but(texts)), tuple(axes), data)


def _but(texts):
    return {name: text for name, text in texts.items() if name != "name"}


def test_stances_are_those_of_the_opposite_mirrored():
    limits = Limits()
    chances = (1.0, 0.975, 0.974, 0.5, 0.026, 0.025, 0.0)
    stances = [limits.stance(p) for p in chances]
    assert stances == [HOLDS, HOLDS, UNCERTAIN, UNCERTAIN, UNCERTAIN, FAILS, FAILS]
    mirror = {HOLDS: FAILS, FAILS: HOLDS, UNCERTAIN: UNCERTAIN}
    for limit in (0.6, 0.9, 0.95, 0.975, 0.99):
        for p in np.linspace(0, 1, 1001):
            assert Limits(limit).stance(1 - p) == mirror[Limits(limit).stance(p)]
    assert limits.stance(np.nan) == NO_ANSWER
    for wrong in (0.5, 1.0, 1.2):
        with pytest.raises(BadInput, match=r"above 0\.5 and below 1"):
            Limits(wrong)


def rows_of(*scenarios: tuple[str, float, str], relation: str = ">") -> pd.DataFrame:
    limits, table = Limits(), []
    for changed, chance, apart in (("as reported", 0.99, ""), *scenarios):
        p = chance if relation == ">" else 1 - chance
        table.append(
            {
                "conclusion": "c", "scenario": BASE.id if changed == "as reported" else changed,
                "changed": changed, "probability": p, "prior_probability": 0.5,
                "stance": limits.stance(p), "convergence": "converged", "power": None,
                "apart": apart, "median": 0.1,
            }
        )  # fmt: skip
    return pd.DataFrame(table)


@pytest.mark.parametrize("relation", [">", "<"])
def test_what_is_shown_apart_never_makes_a_conclusion_fragile(relation):
    (conclusion,) = asked(c="share_difference[her2=low ; hr_status: positive vs negative] > 0.1")
    conclusion = replace(conclusion, relation=relation)
    unfit = "fails its predictive check: distance 90, replicates 2 to 20"

    def said(*scenarios: tuple[str, float, str]) -> pd.Series:
        table = rows_of(*scenarios, relation=relation)
        return summary([conclusion], table, Limits()).iloc[0]

    alone = said(("model ordered", 0.3, unfit))
    assert alone["robust"] == NOT_VARIED
    kept = said(("model ordered", 0.3, unfit), ("prior scale 2", 0.98, ""))
    assert kept["robust"] == "robust"
    assert {round(kept["least"], 3), round(kept["most"], 3)} == (
        {0.98, 0.99} if relation == ">" else {0.01, 0.02}
    )
    assert "Shown apart, as no answer to this: model ordered" in kept["sentence"]
    assert unfit in kept["sentence"]
    broken = said(("model ordered", 0.3, ""), ("prior scale 2", 0.98, ""))
    assert broken["robust"] == "fragile"


@pytest.mark.slow
def test_a_fragile_conclusion_is_flagged_and_a_robust_one_is_not(here, tmp_path):
    scales = {shares.SPREAD: (0.25, 4.0), shares.OVERALL: (0.25,), "zero counted as low": (-0.1,)}
    levels = ("positive", "negative")
    robust = target(
        (600, 600), [[0.2, 0.6, 0.2], [0.4, 0.3, 0.3]], levels, scales,
        name="large", robust="share_difference[her2=low ; hr_status: positive vs negative] > 0.1",
    )  # fmt: skip
    fragile = target(
        (30, 30), [[0.2, 0.6, 0.2], [0.4, 0.3, 0.3]], levels, scales,
        name="small", fragile="share_difference[her2=low ; hr_status: positive vs negative] > 0.1",
    )  # fmt: skip
    result = run.run(
        [robust, fragile], SAMPLING, tmp_path, here, surfaces=False,
    )  # fmt: skip
    said = result.summary.set_index("conclusion")
    assert said.loc["robust", "robust"] == "robust"
    assert said.loc["robust", "stance"] == HOLDS
    assert "No scenario tried changes that" in said.loc["robust", "sentence"]
    assert said.loc["fragile", "robust"] == "fragile"
    assert said.loc["fragile", "least"] < said.loc["fragile", "probability"]
    assert "scenarios" in said.loc["fragile", "sentence"]
    assert set(result.table["convergence"]) == {"converged"}
    _reweighted_as_refitted(result.table, [robust, fragile], here, tmp_path)


def _reweighted_as_refitted(table, targets, here, folder):
    """What was re-weighted agrees with a refit within Monte-Carlo error; refusals say so."""
    again = run.run(targets, SAMPLING, folder, here, reweight=False, surfaces=False)
    assert set(again.table["method"]) == {REFIT}
    both = table.merge(again.table, on=["conclusion", "scenario"], suffixes=("", "_refit"))
    weighted = both[both["method"] == REWEIGHTED]
    assert len(weighted) >= 2
    assert (weighted["k_hat"] < 0.7).all()
    assert (weighted["ess"] >= 400).all()
    variance = both["probability_refit"] * (1 - both["probability_refit"]) + 1e-3
    error = np.sqrt(variance / 400 + variance / 800)
    assert ((both["probability"] - both["probability_refit"]).abs() < 4 * error).all()
    refused = both[(both["method"] == REFIT) & both["k_hat"].notna()]
    assert ((refused["k_hat"] >= 0.69) | (refused["ess"] < 400)).all()


RUN = """
import sys
from pathlib import Path
import pandas as pd
from her2bayes.sensitivity import run
from her2bayes.transition import sensitivity as change
from her2bayes.sensitivity.target import Target
from her2bayes.sensitivity.target import PRIOR, READING, Axis
from her2bayes.inference.sampling import cluster
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.inference.sampling import Sampling

def main():
    study = load_study(published_folder() / "shi2023")
    kept = [c for c in study.conclusions if c.estimand.kind in ("discordance", "transition")]
    (made,) = change.targets(study, kept)
    rows = next(a for a in made.axes if a.name == change.ROWS)
    exact = (rows.values[1], rows.values[2])
    errors = tuple(round(0.02 * k, 2) for k in range(1, 25))
    axes = (Axis(change.ROWS, PRIOR, rows.values[0], exact),
            Axis(change.ASSAY, READING, 0.0, errors),
            Axis(change.READ, READING, "abstract", ("results",)))
    target = Target(made.family, made.name, made.conclusions, axes, made.data)
    with cluster() as client:
        result = run.run([target], Sampling(draws=200), Path(sys.argv[1]), lambda: client,
                         surfaces=False)
    result.table.to_csv(sys.argv[2], index=False)
    print(int(result.seconds["scenarios"]))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_a_killed_run_continues_and_gives_the_same_table(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    store, fresh = tmp_path / "store", tmp_path / "fresh"

    def command(folder: Path, table: str) -> list[str]:
        return [sys.executable, str(script), str(folder), str(tmp_path / table)]

    killed = subprocess.Popen(command(store, "never.csv"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.nc"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = _children(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {path.name: path.stat().st_mtime_ns for path in store.glob("*.nc")}
    assert len(before) >= 5
    assert not (tmp_path / "never.csv").exists()
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_alive, workers))
    late = {path.name: path.stat().st_mtime_ns for path in store.glob("*.nc")}

    again = subprocess.run(command(store, "again.csv"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = {path.name: path.stat().st_mtime_ns for path in store.glob("*.nc")}
    assert before.items() <= late.items() <= after.items()  # nothing finished was computed again
    assert int(again.stdout) == len(after) - len(late) > 0
    whole = subprocess.run(command(fresh, "fresh.csv"), capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    tables = [pd.read_csv(tmp_path / name) for name in ("again.csv", "fresh.csv")]
    pd.testing.assert_frame_equal(*tables)
    base = tables[0][tables[0]["scenario"] == BASE.id]
    assert base["stance"].isin([HOLDS, UNCERTAIN, FAILS]).all()
    impossible = tables[0][tables[0]["changed"] == "reading results"]
    assert set(impossible["stance"]) == {NO_ANSWER}
    assert impossible["note"].str.contains("all.zero_low.results").all()


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # the process ended while we looked
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"


@pytest.mark.slow
def test_a_scheduler_elsewhere_is_used_by_its_address():
    from her2bayes.inference.sampling import cluster

    with cluster(workers=1) as local, cluster(local.scheduler.address) as client:
        assert client.scheduler.address == local.scheduler.address
        assert client.submit(sum, (1, 2)).result() == 3
        threads = [w["nthreads"] for w in client.scheduler_info(n_workers=-1)["workers"].values()]
    assert threads == [1]


def test_an_address_that_is_none_is_bad_input():
    from her2bayes.inference.sampling import cluster

    with pytest.raises(BadInput, match="no scheduler answers"), cluster("nowhere://here:1"):
        pass
