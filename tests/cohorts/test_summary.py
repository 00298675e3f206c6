"""Printed survival back to patients: against rejection sampling, and every printed number."""

from collections import Counter
from dataclasses import replace
from itertools import count, product
from threading import current_thread

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from her2bayes.cohorts.chain import FOLDER
from her2bayes.cohorts.chain import distance as screen
from her2bayes.cohorts.chain import kernel as chain_kernel
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.kernel import MOVES
from her2bayes.cohorts.chain.problem import counts_of_facts, problem, walk
from her2bayes.cohorts.chain.replica import Effort, Replica, Settings, cohort
from her2bayes.cohorts.chain.state import assign
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import Chain, chain, chains
from her2bayes.cohorts.constraints import summary as read_summary
from her2bayes.cohorts.diagnostics import quantities
from her2bayes.cohorts.ensemble import match_numbers as match
from her2bayes.cohorts.ensemble import patients
from her2bayes.cohorts.interpretations import settings_of
from her2bayes.cohorts.kept import Specification, stored
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.inference.store import Store

CELLS = Cells({"her2": ("low", "positive"), "hr_status": ("positive", "negative")})
INTERVALS, LAST, N, EVENTS, POSITIVE = 2, 60.0, 8, 3, 4
HR_WINDOW = (0.1, 1.5)
COX_WINDOW = {"ratio": (-1.2, 0.4), "lower": (-3.6, -2.4)}


def small(window=(0.2, 2.0), median=(100.0, 260.0)):
    """Eight patients, three deaths, four in each HER2 class; two log-rank and a follow-up window.

    Patients of class positive fare better; no test asks for both factors, so both are reheated.
    """
    everyone = np.ones(4, np.int64)
    positive = CELLS.where({"her2": "positive"}).astype(np.int64)
    facts = (
        CountFact("deaths", "deaths", everyone, True, EVENTS, EVENTS),
        CountFact("positive", "positive", positive, False, POSITIVE, POSITIVE),
    )
    statistics = (
        Statistic("logrank", kernel.LOG_RANK, {}, "her2", ("low", "positive"),
                  (Target("p", "P", "", 0, *window, "p1"),
                   Target("better", "direction", "positive better", 1, -np.inf, -1e-9, "sign"))),
        Statistic("logrank hr", kernel.LOG_RANK, {}, "hr_status", ("positive", "negative"),
                  (Target("hr", "P", "", 0, *HR_WINDOW, "p1"),)),
        Statistic("follow", kernel.FOLLOW_UP, {}, "", (),
                  (Target("m", "median", "", 0, *median, "months"),)),
    )  # fmt: skip
    return Summary("toy", "os", N, CELLS, facts, statistics, LAST, ("her2", "hr_status"), {})


def with_cox():
    """The same with a Cox ratio and limits instead of the first log-rank test: screened moves."""
    item = small()
    targets = tuple(
        Target(name, "hazard_ratio", "", k, *COX_WINDOW[name], "exp")
        for k, name in ((0, "ratio"), (1, "lower"))
    )
    cox = Statistic("cox", kernel.COX, {}, "her2", ("low", "positive"), targets)
    return replace(item, statistics=(cox, *item.statistics[1:]))


SEEN = {"share": (0.5, 0.9), "at risk": (2.75, 4.25), "censored": (0.75, 3.25)}


def with_figure():
    """The same with survival after 15 months, patients at risk at 12 and 24, censored by 24."""
    item = small()

    def shown(kind, scale, *times_of):
        targets = tuple(
            Target(f"{scale} {at}", scale, "", k, *window, scale, at)
            for k, (at, window) in enumerate(times_of)
        )
        return Statistic(f"shown {scale} {kind}", kind, {}, "", (), targets)

    figure = (
        shown(kernel.SURVIVAL, "share", (15.0, SEEN["share"])),
        shown(kernel.AT_RISK, "patients", (12.0, (3.75, 7.25)), (24.0, SEEN["at risk"])),
        shown(kernel.CENSORED, "patients", (24.0, SEEN["censored"])),
    )
    return replace(item, statistics=(*item.statistics, *figure))


def figure_fits(time, event):
    """Whether what ``with_figure`` shows is so, from its definition (times in tenths)."""
    alive = 1.0
    for t in np.unique(time[(event == 1) & (time <= 150)]):
        alive *= 1 - ((time == t) & (event == 1)).sum() / (time >= t).sum()
    seen = {
        "share": alive if time.max() >= 150 else -1,
        "at risk": (time > 240).sum(),
        "censored": ((event == 0) & (time <= 240)).sum(),
    }
    early = 4 <= (time > 120).sum() <= 7
    return early and all(SEEN[name][0] <= x <= SEEN[name][1] for name, x in seen.items())


def prior_cohorts(rng, size):
    """Cohorts (size, patient) from the reference model, by NumPy, equations of its docstring."""
    z = lambda *shape: rng.normal(size=(size, *shape))  # noqa: E731
    basis = walk(INTERVALS)[:, 0]
    base = (-4 - np.log(10) + z())[:, None] + (np.abs(z()) * z())[:, None] * basis
    leave = (-3.5 - np.log(10) + z())[:, None] + (np.abs(z()) * z())[:, None] * basis
    her2, hr, both = 0.75 * z(), 0.75 * z(), 0.25 * np.abs(z()) * z()
    share = rng.dirichlet(np.ones(4), size=size)
    cell = (rng.random((size, N, 1)) > share.cumsum(axis=1)[:, None, :3]).sum(axis=2)
    a, b = np.array([-0.5, 0.5])[cell // 2], np.array([-0.5, 0.5])[cell % 2]
    effect = her2[:, None] * a + hr[:, None] * b + both[:, None] * a * b
    rate = np.exp(base[:, None, :] + effect[:, :, None])
    cut = LAST * 10 / INTERVALS
    times = []
    for hazard in (rate, np.broadcast_to(np.exp(leave)[:, None, :], rate.shape)):
        e = rng.exponential(size=(size, N))
        first = e / hazard[..., 0]
        late = cut + (e - hazard[..., 0] * cut) / hazard[..., 1]
        times.append(np.where(first < cut, first, late))
    return np.minimum(*times), (times[0] < times[1]).astype(int), cell


def log_rank(time, event, group):
    """Two-group log-rank chi-square from its definition, negative where the group fares worse."""
    excess = variance = 0.0
    for t in np.unique(time[event == 1]):
        at, dead = time >= t, (time == t) & (event == 1)
        n, n1, d = at.sum(), (at & group).sum(), dead.sum()
        excess += (dead & group).sum() - d * n1 / n
        variance += d * n1 * (n - n1) * (n - d) / (n**2 * (n - 1)) if n > 1 else 0
    return -np.sign(excess) * excess**2 / variance if variance > 0 else np.nan


def cox_fits(time, event, group):
    """Whether the Cox ratio of the group (Efron's ties) and its lower limit are as printed."""
    dead = event == 1
    if group[dead].all() or not group[dead].any():
        return False
    ends = []
    for t in np.unique(time[dead]):
        at, fall = time >= t, dead & (time == t)
        d = fall.sum()
        left = [(at & side).sum() - np.arange(d) / d * (fall & side).sum()
                for side in (group, ~group)]  # fmt: skip
        ends += list(zip(*left, strict=True))
    ours, others = np.array(ends).T
    beta = 0.0
    for _ in range(40):
        share = ours * np.exp(beta) / (ours * np.exp(beta) + others)
        information = (share * (1 - share)).sum()
        if information < 1e-6:
            return False
        beta += np.clip((group[dead].sum() - share.sum()) / information, -1, 1)
    found = (beta, beta - 1.959964 / np.sqrt(information))
    windows = COX_WINDOW.values()
    return all(low <= x <= high for x, (low, high) in zip(found, windows, strict=True))


def first_test_fits(time, event, positive, cox):
    """Whether the first statistic is as printed."""
    if cox:
        return cox_fits(time, event, positive)
    return 0.2 <= log_rank(time, event, positive) <= 2.0


def summaries(time, event, cell):
    """Numbers in which chain and rejection are compared."""
    alive = np.prod([
        1 - ((time == t) & (event == 1)).sum() / (time >= t).sum()
        for t in np.unique(time[(event == 1) & (time <= 240)])
    ])  # fmt: skip
    deaths = event[cell // 2 == 1].sum()
    return alive, time.sum(), deaths, (cell == 0).sum(), event @ time


def rejection(rng, number, shown):
    """Cohorts of the toy summary by simulating from the prior and keeping those that fit."""
    found = []
    while len(found) < number:
        s, event, cell = prior_cohorts(rng, 20_000)
        positive = cell // 2 == 1
        time = np.ceil(s)
        fit = (
            (event.sum(axis=1) == EVENTS)
            & (positive.sum(axis=1) == POSITIVE)
            & (s.max(axis=1) <= 600)
        )
        middle = np.median(time, axis=1)
        fit &= (middle >= 100) & (middle <= 260)
        for k in np.flatnonzero(fit):
            test = abs(log_rank(time[k], event[k], cell[k] % 2 == 1))
            if not HR_WINDOW[0] <= test <= HR_WINDOW[1]:
                continue
            if shown == "figure" and not figure_fits(time[k], event[k]):
                continue
            if first_test_fits(time[k], event[k], positive[k], shown == "cox"):
                found.append(summaries(time[k], event[k], cell[k]))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["tests", "cox", "figure"])
def test_chain_equals_rejection_sampling(rng, shown):
    """Means and variances of survival, total time, deaths by class, labels, death times."""
    item = {"tests": small, "cox": with_cox, "figure": with_figure}[shown]()
    reference = rejection(rng, 600, shown)
    settings = Settings(replicas=3, warm=100, sweeps=2500, moves=250, soft_moves=250)
    found = chain(problem(item, INTERVALS, LAST), settings, 1)
    assert found is not None
    cohorts = zip(found.months, found.event, found.cell, strict=True)
    draws = np.array([summaries(10 * t, e, c) for t, e, c in cohorts])
    for k in range(reference.shape[1]):
        one, other = reference[:, k], draws[:, k]
        batches = np.array([b.mean() for b in np.array_split(other, 30)])
        error = np.hypot(one.std() / np.sqrt(one.size), batches.std(ddof=1) / np.sqrt(30))
        assert abs(one.mean() - other.mean()) <= 4 * error, k
        squares = np.array([b.mean() for b in np.array_split((other - other.mean()) ** 2, 30)])
        spread = (one - one.mean()) ** 2
        error = np.hypot(spread.std() / np.sqrt(one.size), squares.std(ddof=1) / np.sqrt(30))
        assert abs(spread.mean() - squares.mean()) <= 4 * error, k


@pytest.mark.parametrize("compared", [0, 1])
def test_all_divisions_that_crossed_counts_leave_open_are_reached(rng, compared):
    """With every two-way count of three factors printed, one number is free and uniform.

    Cells ~ Dirichlet(1, ..., 1) makes all tables alike likely; two patients can never change it.
    Whether no factor is compared, or the first: then most pairs are of one level of it.
    """
    cells = Cells(dict.fromkeys("abc", ("x", "y")))
    facts = []
    for one, other in ("ab", "ac", "bc"):
        for first, second in product("xy", repeat=2):
            inside = cells.where({one: first, other: second}).astype(np.int64)
            facts.append(CountFact(f"{one}{other}", first + second, inside, False, 4, 4))
    item = Summary("toy", "os", 16, cells, tuple(facts), (), LAST, ("a", "b", "c"), {})
    posed = problem(item, INTERVALS)
    posed = replace(posed, printed=posed.printed._replace(compared=compared))
    replica = Replica(posed, counts_of_facts(item, rng), rng)
    tally = np.zeros((MOVES, 2), np.int64)
    corner = cells.where(dict.fromkeys("abc", "x"))
    seen = np.zeros(5)
    for _ in range(1000):
        replica.run(Effort(1000), 1.0, False, tally)
        seen[corner[replica.patients.cell].sum()] += 1
    assert seen.sum() == 1000
    assert chisquare(seen).pvalue > 1e-3


def test_pairs_that_keep_the_counts_by_themselves_are_exchanged_evenly(rng):
    """Where nothing crosses two factors, all divisions between them are alike likely.

    Labels move by exchanges in two pairs alone, times and events by moves of one patient.
    """
    cells = Cells(dict.fromkeys("ab", ("x", "y")))
    facts = tuple(
        CountFact(name, name, cells.where({name: "x"}).astype(np.int64), False, 4, 4)
        for name in "ab"
    )
    item = Summary("toy", "os", 8, cells, facts, (), LAST, ("a", "b"), {})
    posed = problem(item, INTERVALS)
    posed.printed.chance[:] = 0
    posed.printed.chance[:, [chain_kernel.TIME, chain_kernel.ONE, chain_kernel.FOUR]] = 1 / 3
    replica = Replica(posed, counts_of_facts(item, rng), rng)
    seen = np.zeros(5)
    for _ in range(1000):
        replica.run(Effort(300), 1.0, False, np.zeros((MOVES, 2), np.int64))
        seen[cells.where(dict.fromkeys("ab", "x"))[replica.patients.cell].sum()] += 1
    assert chisquare(seen).pvalue > 1e-3


def test_labels_are_reheated_as_often_as_tests_ask_for_them():
    item = small()
    assert problem(item, INTERVALS).printed.reheated.tolist() == [0, 1]
    alone = replace(item, statistics=(item.statistics[0], item.statistics[2]))
    assert problem(alone, INTERVALS).printed.reheated.tolist() == []
    shi = read_summary(load_study(study_folder("shi2023")))
    names = list(shi.cells.factors)
    often = Counter(names[k] for k in problem(shi).printed.reheated)
    assert often == {"her2": 3, "her2_primary": 4, "relapse_type": 9, "hr_status": 4}


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


def test_impossible_p_value_is_named_with_what_it_contradicts():
    item = small()
    again = replace(item.statistics[0], estimand="the same test", targets=(
        Target("other", "P", "", 0, 4.0, 5.0, "p1"),))  # fmt: skip
    item = replace(item, statistics=(*item.statistics, again))
    with pytest.raises(BadInput, match="smallest conflicting set") as error:
        chains(problem(item, INTERVALS, LAST), Settings())
    told = str(error.value)
    assert "p (logrank" in told
    assert "other (the same test" in told
    assert "follow" not in told


def test_an_interrupt_in_one_chain_ends_the_others():
    told = []

    def tell(done, total):
        told.append((done, total))
        if current_thread().name.endswith("_0"):
            raise KeyboardInterrupt

    settings = Settings(chains=4, replicas=3, warm=50, sweeps=10**6, moves=50, soft_moves=50)
    with pytest.raises(KeyboardInterrupt):
        chains(problem(small(), INTERVALS, LAST), settings, tell)
    assert told[-1][0] < 10**4
    assert told[0][1] == 4 * (50 + 10**6)


@pytest.mark.parametrize("at", [30, 75, 140])  # in the first warm-up, in later sweeps
def test_a_chain_that_was_stopped_ends_as_if_it_never_had_been(tmp_path, at):
    settings = Settings(chains=2, replicas=4, warm=60, sweeps=120, moves=200, soft_moves=200)
    spec = Specification(small(), settings)
    store, asked = Store(tmp_path), count(1)

    def stop(done, total):
        if next(asked) == 2 * at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(spec, store, stop)
    assert len(list(tmp_path.glob("*_begun_*.nc"))) == 2
    again = []
    found = stored(spec, store, lambda done, total: again.append(done))
    assert at < again[0]
    assert len(again) < 2 * (60 + 120) - at
    assert not list(tmp_path.glob("*_begun_*.nc"))
    for one, whole in zip(found, stored(spec, None), strict=True):
        for name in ("months", "event", "cell", "theta", "found", "tally", "refusals"):
            np.testing.assert_array_equal(getattr(one, name), getattr(whole, name), name)
        assert one.trips == whole.trips


def test_a_damaged_note_is_not_trusted(tmp_path, caplog):
    settings = Settings(chains=1, replicas=3, warm=40, sweeps=40, moves=100, soft_moves=100)
    spec = Specification(small(), settings)
    asked = count(1)

    def stop(done, total):
        if next(asked) == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(spec, Store(tmp_path), stop)
    (note,) = tmp_path.glob("*_begun_*.nc")
    note.write_bytes(note.read_bytes()[:-100])
    again = []
    stored(spec, Store(tmp_path), lambda done, total: again.append(done))
    assert len(again) == 80
    assert "damaged" in caplog.text


def test_too_many_groups_are_named():
    levels = ("a", "b", "c", "d", "e")
    item = small()
    wide = replace(item.statistics[0], estimand="survival_difference[os ; five]", levels=levels)
    with pytest.raises(BadInput, match=r"survival_difference\[os ; five\].*at most 4"):
        problem(replace(item, statistics=(wide,)))


def test_settings_of_chains_come_from_the_study_and_faults_are_told_together(tmp_path):
    study = load_study(study_folder("shi2023"))
    assert settings_of(study, seed=3, sweeps=7) == replace(settings_of(study), seed=3, sweeps=7)
    assert isinstance(settings_of(study).reheats, tuple)
    text = "[chains]\nreplicas = 0\nmove = 3\nridges = 0\nreheats = [1, 2]\nsoftest = 800\n"
    (tmp_path / "reconstruction.toml").write_text(text, "utf-8")
    with pytest.raises(BadInput) as error:
        settings_of(replace(study, folder=tmp_path))
    told = [str(fault) for fault in error.value.faults]
    assert len(told) == 4
    assert all("reconstruction.toml: [chains]" in line and "allowed" in line for line in told)
    assert "no such setting (found 'move')" in told[1]


def test_screen_adds_up_to_the_score_and_foresees_small_moves(rng):
    """Contributions of all patients sum to score and information; a death that moves changes them.

    The sum is an identity where no deaths tie (weights at risk times deviations cancel). What the
    first order leaves out is that shares at risk change by about one part in the number at risk.
    """
    posed = problem(read_summary(load_study(study_folder("shi2023"))))
    replica = Replica(posed, counts_of_facts(posed.summary, rng), rng)
    replica.run(Effort(20_000), 8.0, True, np.zeros((MOVES, 2), np.int64))
    p, work, printed = replica.patients, replica.work, posed.printed
    screening, parts = work.screen, 5
    screen.look(printed, p, screening, screen.HERE, work.out)
    before = screening.total[screening.side[screen.HERE], :parts].copy()
    total = np.zeros(screen.PARTS)
    for i in range(247):
        state = (p.time[i], p.event[i], p.cell[i])
        screen.add(printed, p, screening, screen.HERE, i, *state, 1.0, total, parts)
    ties = p.row_deaths[: p.rows[0]].max() > 1
    np.testing.assert_allclose(total[:parts], before, atol=0.2 if ties else 1e-8)
    foreseen, happened, at_risk = [], [], []
    early = [i for i in np.flatnonzero(p.event) if p.time[i] < 400]
    for i in early:
        time, s = int(p.time[i]), float(p.s[i])
        change = np.zeros(screen.PARTS)
        for at, sign in ((time, -1.0), (time + 60, 1.0)):
            state = (at, 1, p.cell[i])
            screen.add(printed, p, screening, screen.HERE, i, *state, sign, change, parts)
        assign(printed, p, i, s + 60.0, 1, p.cell[i])
        screen.look(printed, p, screening, screen.THERE, work.out)
        after = screening.total[screening.side[screen.THERE], :parts]
        foreseen.append(change[:parts])
        happened.append(after - before)
        at_risk.append((p.time >= time + 60).sum())
        assign(printed, p, i, s, 1, p.cell[i])
    off = np.abs(np.array(foreseen) - happened)
    assert (off * np.array(at_risk)[:, None] < 2).all()
    assert (np.sum(off**2, axis=0) < 0.02 * np.sum(np.square(happened), axis=0)).all()


def test_compiled_code_is_kept_by_the_digest_of_all_sources():
    """Numba alone asks for the file of a function, not for those of the functions it calls."""
    assert chain_kernel.run.stats.cache_path.startswith(FOLDER)


def test_risk_sets_are_those_counted_anew(rng):
    """After many moves: rows, numbers at risk, deaths, members, counts, order."""
    posed = problem(read_summary(load_study(study_folder("shi2023"))))
    replica = Replica(posed, counts_of_facts(posed.summary, rng), rng)
    for sharpness in (1.0, 30.0):
        replica.run(Effort(4000, 5, 2), sharpness, True, np.zeros((MOVES, 2), np.int64))
    kept = replica.patients
    fresh = cohort(posed.printed, kept.s, kept.event, kept.cell)
    rows = int(fresh.rows[0])
    assert kept.rows[0] == rows
    for name in ("row_time", "row_deaths", "risk", "dead"):
        old, new = (getattr(state, name)[..., :rows] for state in (kept, fresh))
        np.testing.assert_array_equal(old, new, name)
    for name in ("time", "present", "held", "members"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name), name)
    assert (np.diff(kept.time[kept.order]) >= 0).all()
    assert (kept.order[kept.place] == np.arange(247)).all()


def test_every_printed_number_is_met_by_other_code():
    item = small()
    found = chain(problem(item, INTERVALS, LAST), Settings(replicas=3, warm=60, sweeps=40), 3)
    cohorts = [patients(item, found, d) for d in range(0, found.months.shape[0], 10)]
    table = match(item, cohorts)
    assert table["met"].all()
    assert set(table["claim_id"]) == {"deaths", "positive", "p", "better", "hr", "m"}


@pytest.mark.parametrize("last", [False, True])
def test_ratios_of_other_groups_stay_finite_where_one_has_no_deaths(rng, last):
    """Those of the model without the group, the limit of the likelihood.

    A death after everybody else has left is none.
    """
    from her2bayes.classical.hazard_regression import cox

    cells = Cells({"her2": ("zero", "low", "positive")})
    targets = (Target("p", "P", "", 0, 0.0, 9.0, "p2"),)
    test = Statistic("x", kernel.LOG_RANK, {}, "her2", ("zero", "low", "positive"), targets)
    item = Summary("toy", "os", 30, cells, (), (test,), LAST, ("her2",), {})
    months, cell = rng.permutation(30) / 2 + 0.1, np.repeat([0, 1, 2], 10)
    event = ((cell < 2) & (rng.random(30) < 0.7)).astype(int)
    if last:
        months[-1], event[-1] = 50.0, 1
    nothing = np.zeros((1, 1))
    one = Chain(
        months[None], event[None, :], cell[None], nothing, nothing, nothing, 0, nothing, 0.0
    )
    found = quantities(item, one, 0)
    inside = cell < 2
    rows = pd.DataFrame({"time": months, "event": event, "entry": 0.0, "patients": 1})[inside]
    named = pd.Categorical(np.array(["zero", "low"])[cell[inside]])
    table = cox(rows.assign(group=named), {"group": "zero"}).table
    expected = table["log_hazard_ratio"].iloc[0]
    assert found["log hazard ratio low vs zero"] == pytest.approx(expected, rel=1e-6)
    assert found["log hazard ratio positive vs zero"] == -kernel.FAR
    event[cell == 1] = 0
    assert quantities(item, one, 0)["log hazard ratio low vs zero"] == -kernel.FAR


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
    memory = kernel.memory(n)

    def compiled(kind, groups, group_of):
        out = np.zeros(kernel.VALUES)
        assert kernel.statistic(kind, groups, group_of, time[order], event[order], group[order], n,
                                np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR),
                                *memory, out)  # fmt: skip
        return out

    every = np.arange(3)
    chi2 = logrank(rows, ["group"])["statistic"]
    assert compiled(kernel.LOG_RANK, 3, every)[0] == pytest.approx(chi2, rel=1e-10)
    named = rows.assign(group=rows["group"].cat.rename_categories(["a", "b", "c"]))
    table = cox(named, {"group": "a"}).table
    out = compiled(kernel.COX, 3, every)
    np.testing.assert_allclose(out[[0, 4]], table["log_hazard_ratio"], rtol=1e-8)
    error = (out[[2, 6]] - out[[0, 4]]) / kernel.Z
    np.testing.assert_allclose(error, table["std_error"], rtol=1e-8)
    middle = quantile(rows)["estimate"].iloc[0]
    assert compiled(kernel.MEDIAN, 1, np.zeros(3, int))[0] / 10 == pytest.approx(middle)
    back = quantile(rows, reverse=True)["estimate"].iloc[0]
    assert compiled(kernel.FOLLOW_UP_REVERSE, 1, np.zeros(3, int))[0] / 10 == pytest.approx(back)
