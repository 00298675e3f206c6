"""Printed survival back to patients: the chain against rejection sampling, and every printed number."""

import numpy as np
import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.study import load_study, study_folder
from her2bayes.reconstruction import summary_statistics as kernel
from her2bayes.reconstruction.summary import Settings, chain, chains
from her2bayes.reconstruction.summary_design import Cells, CountFact, Statistic, Summary, Target
from her2bayes.reconstruction.summary_evidence import summary as read_summary
from her2bayes.reconstruction.summary_match import match, patients
from her2bayes.reconstruction.summary_problem import problem, walk

CELLS = Cells({"her2": ("low", "positive"), "hr_status": ("positive", "negative")})
INTERVALS, LAST, N, EVENTS = 2, 60.0, 12, 5


def small(window=(0.2, 2.0), median=(100.0, 260.0)):
    """Twelve patients, five deaths, six in each HER2 class; a log-rank and a follow-up window."""
    everyone = np.ones(4, np.int64)
    positive = CELLS.where({"her2": "positive"}).astype(np.int64)
    facts = (
        CountFact("deaths", "deaths", everyone, True, EVENTS, EVENTS),
        CountFact("positive", "positive", positive, False, 6, 6),
    )
    statistics = (
        Statistic("logrank", kernel.LOG_RANK, {}, "her2", ("low", "positive"),
                  (Target("p", "P", "", 0, *window, "p1"),)),
        Statistic("follow", kernel.FOLLOW_UP, {}, "", (),
                  (Target("m", "median", "", 0, *median, "months"),)),
    )  # fmt: skip
    return Summary("toy", "os", N, CELLS, facts, statistics, LAST, ("her2", "hr_status"), {})


def prior_cohort(rng):
    """One cohort from the reference model, by NumPy, with the equations of its docstring."""
    z = rng.normal
    sigma, sigma_c = abs(z()), abs(z())
    base = -4 - np.log(10) + z() + sigma * walk(INTERVALS) @ z(size=INTERVALS - 1)
    leave = np.exp(-3.5 - np.log(10) + z() + sigma_c * walk(INTERVALS) @ z(size=INTERVALS - 1))
    her2, hr, both = z(0, 0.75), z(0, 0.75), z(0, abs(z(0, 0.25)))
    share = rng.dirichlet(np.ones(4))
    cell = rng.choice(4, N, p=share)
    a, b = np.array([-0.5, 0.5])[cell // 2], np.array([-0.5, 0.5])[cell % 2]
    rate = np.exp(base[None, :] + (her2 * a + hr * b + both * a * b)[:, None])
    cut = LAST * 10 / INTERVALS
    times = []
    for hazard in (rate, np.broadcast_to(leave, (N, INTERVALS))):
        e = rng.exponential(size=N)
        first = e / hazard[:, 0]
        times.append(np.where(first < cut, first, cut + (e - hazard[:, 0] * cut) / hazard[:, 1]))
    return np.minimum(*times), (times[0] < times[1]).astype(int), cell


def log_rank(time, event, group):
    """Two-group log-rank chi-square from its definition."""
    excess = variance = 0.0
    for t in np.unique(time[event == 1]):
        at, dead = time >= t, (time == t) & (event == 1)
        n, n1, d = at.sum(), (at & group).sum(), dead.sum()
        excess += (dead & group).sum() - d * n1 / n
        variance += d * n1 * (n - n1) * (n - d) / (n**2 * (n - 1)) if n > 1 else 0
    return excess**2 / variance if variance > 0 else np.nan


def summaries(time, event, cell):
    """Numbers in which chain and rejection are compared."""
    alive = np.prod([
        1 - ((time == t) & (event == 1)).sum() / (time >= t).sum()
        for t in np.unique(time[(event == 1) & (time <= 240)])
    ])  # fmt: skip
    deaths = event[cell // 2 == 1].sum()
    return alive, time.sum(), deaths, (cell == 0).sum(), event @ time


@pytest.mark.slow
def test_chain_equals_rejection_sampling(rng):
    item = small()
    accepted = []
    while len(accepted) < 1500:
        s, event, cell = prior_cohort(rng)
        if event.sum() != EVENTS or (cell // 2 == 1).sum() != 6 or s.max() > 600:
            continue
        time = np.ceil(s)
        if not 0.2 <= log_rank(time, event, cell // 2 == 1) <= 2.0:
            continue
        if 100 <= np.median(time) <= 260:
            accepted.append(summaries(time, event, cell))
    reference = np.array(accepted)
    settings = Settings(replicas=3, warm=100, sweeps=3000, moves=150)
    found = chain(problem(item, INTERVALS, LAST), settings, 1)
    draws = np.array([
        summaries(10 * t, e, c) for t, e, c in zip(found.months, found.event, found.cell, strict=True)
    ])  # fmt: skip
    for k in range(reference.shape[1]):
        one, other = reference[:, k], draws[:, k]
        batches = np.array([b.mean() for b in np.array_split(other, 30)])
        error = np.hypot(one.std() / np.sqrt(one.size), batches.std(ddof=1) / np.sqrt(30))
        assert abs(one.mean() - other.mean()) <= 4 * error, k
        squares = np.array([b.mean() for b in np.array_split((other - other.mean()) ** 2, 30)])
        spread = (one - one.mean()) ** 2
        error = np.hypot(spread.std() / np.sqrt(one.size), squares.std(ddof=1) / np.sqrt(30))
        assert abs(spread.mean() - squares.mean()) <= 4 * error, k


def test_shi_constraints_come_from_the_ledger():
    item = read_summary(load_study(study_folder("shi2023")))
    assert item.patients == 247
    assert item.last == 97.9
    texts = {t.text for s in item.statistics for t in s.targets}
    assert {"0.0011", "0.0006", "0.065", "0.26", "0.0039", "0.33", "0.053", "0.61", "0.016",
            "0.422", "0.199", "0.892", "1.797", "0.997", "3.239", "23.3", "0.5", "97.9",
            "concordant better"} <= texts  # fmt: skip
    assert ("shi.abstract.bcss_dm", "another reading than 'results'") in item.left_out
    deaths = {f.low for f in item.facts if f.event}
    assert deaths == {57, 18, 30, 9}


def test_readings_are_named_and_checked():
    study = load_study(study_folder("shi2023"))
    abstract = read_summary(study, readings={"duplicates": "abstract"})
    assert any(t.text == "0.0037" for s in abstract.statistics for t in s.targets)
    survivors = read_summary(study, readings={"follow_up": "survivors"})
    assert any(s.kind == kernel.FOLLOW_UP_SURVIVORS for s in survivors.statistics)
    with pytest.raises(BadInput, match="follow_up"):
        read_summary(study, readings={"follow_up": "guess"})
    with pytest.raises(BadInput, match="os"):
        read_summary(study, "os")


def test_contradictory_counts_are_named():
    study = load_study(study_folder("shi2023"))
    item = read_summary(study, readings={"transition": "results"})
    with pytest.raises(BadInput, match="smallest conflicting set") as error:
        chains(problem(item), Settings())
    assert "shi.results.evol.zero_to_low" in str(error.value)


def test_every_printed_number_is_met_by_other_code():
    item = small()
    found = chain(problem(item, INTERVALS, LAST), Settings(replicas=3, warm=60, sweeps=40), 3)
    cohorts = [patients(item, found, d) for d in range(0, found.months.shape[0], 10)]
    table = match(item, cohorts)
    assert table["met"].all()
    assert set(table["claim_id"]) == {"deaths", "positive", "p", "m"}


def test_compiled_statistics_agree_with_greenwood(rng):
    """Log-rank, Cox, observed/expected, medians on tied data."""
    from her2bayes.classical.hazard_regression import cox
    from her2bayes.classical.survival import logrank, quantile

    n = 90
    time = rng.integers(1, 40, n)
    event, group = rng.integers(0, 2, n), rng.integers(0, 3, n)
    rows = pd.DataFrame({"time": time / 10, "event": event, "group": pd.Categorical(group),
                         "entry": 0.0, "patients": 1})  # fmt: skip
    order = np.argsort(time, kind="stable")
    memory = np.zeros((n, kernel.GROUPS), np.int64), np.zeros((n, kernel.GROUPS), np.int64)

    def compiled(kind, groups, group_of):
        out = np.zeros(kernel.VALUES)
        assert kernel.statistic(kind, groups, group_of, time[order], event[order], group[order], n,
                                np.zeros(kernel.GROUPS), kernel.FAR, *memory, out)  # fmt: skip
        return out

    every = np.arange(3)
    chi2 = logrank(rows, ["group"])["statistic"]
    assert compiled(kernel.LOG_RANK, 3, every)[0] == pytest.approx(chi2, rel=1e-10)
    table = cox(rows, {"group": "0"}).table if False else cox(
        rows.assign(group=rows["group"].cat.rename_categories(["a", "b", "c"])), {"group": "a"}
    ).table
    out = compiled(kernel.COX, 3, every)
    np.testing.assert_allclose(out[[0, 4]], table["log_hazard_ratio"], rtol=1e-8)
    np.testing.assert_allclose((out[[2, 6]] - out[[0, 4]]) / kernel.Z, table["std_error"], rtol=1e-8)
    middle = quantile(rows)["estimate"].iloc[0]
    assert compiled(kernel.MEDIAN, 1, np.zeros(3, int))[0] / 10 == pytest.approx(middle)
    back = quantile(rows, reverse=True)["estimate"].iloc[0]
    assert compiled(kernel.FOLLOW_UP_REVERSE, 1, np.zeros(3, int))[0] / 10 == pytest.approx(back)
