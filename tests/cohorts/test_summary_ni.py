"""Ni 2025: which printed numbers cohorts must meet, which are left out, and why they must be."""

import numpy as np
import pytest
from scipy.stats import chi2

from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.problem import problem
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.chain.tempering import chain
from her2bayes.cohorts.constraints import summary as read_summary
from her2bayes.cohorts.constraints import without_padding
from her2bayes.cohorts.ensemble import match_numbers as match
from her2bayes.cohorts.ensemble import patients
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, study_folder

Z = 1.959963984540054
TROP2 = "ni.eff.hr.pfs.trop2"
PATIENTS = {64, 32, 11, 53, 10, 54}


@pytest.fixture(scope="module")
def ni():
    return load_study(study_folder("ni2025"))


def printed(item):
    """Printed numbers by estimand and part."""
    return {(s.estimand, t.what): t.text for s in item.statistics for t in s.targets}


def targets_of(item, claim):
    return {t.what: t for s in item.statistics for t in s.targets if t.claim_id == claim}


def test_ni_constraints_of_progression_come_from_the_ledger(ni):
    item = read_summary(ni, "rwpfs")
    assert (item.patients, item.last) == (64, 37.0)
    assert {f.low for f in item.facts if not f.event} == PATIENTS
    assert [(f.claim_id, f.low, f.high) for f in item.facts if f.event] == [
        ("ni.eff.disc_progression", 50, 64)
    ]
    assert sorted(printed(item).values()) == sorted(
        ["5.0", "6.0", "3.9", "3.6", "5.6", "3.1", "5.5", "0.54", "0.31", "0.96", "0.020",
         "2.57", "0.97", "6.82", "0.004", "2.51", "0.020"]
    )  # fmt: skip
    assert {s.kind for s in item.statistics} == {kernel.EXPECTED, kernel.MEDIAN}
    why = dict(item.left_out)
    assert why[TROP2].startswith("lower limit, upper limit left out: ")
    assert why["ni.table2.mpfs"].endswith("as far from the median below as above")
    assert set(why) == {TROP2, "ni.table2.mpfs", "ni.mv.hr.bm", "ni.mv.hr.trop2"}


def test_ni_constraints_of_survival_come_from_the_ledger(ni):
    item = read_summary(ni, "os")
    assert {f.low for f in item.facts if not f.event} == PATIENTS
    assert [(f.low, f.high) for f in item.facts if f.event] == [(31, 31)]
    assert sorted(printed(item).values()) == sorted(
        ["14.9", "18.1", "14.0", "8.6", "15.7", "11.1", "15.7", "19.5",
         "0.65", "0.32", "1.33", "0.220", "2.44", "0.78", "7.65", "0.030",
         "2.46", "0.78", "7.73", "0.030"]
    )  # fmt: skip
    assert {s.kind for s in item.statistics} == {
        kernel.EXPECTED, kernel.MEDIAN, kernel.FOLLOW_UP_REVERSE
    }  # fmt: skip
    assert set(dict(item.left_out)) == {"ni.table2.mos", "ni.eff.followup"}


def test_other_readings_relax_other_numbers(ni):
    item = read_summary(ni, "rwpfs", {"implied": "left_out"})
    assert set(targets_of(item, TROP2)) == {"hazard ratio", "lower limit", "upper limit"}
    assert ("ni.eff.disc_progression", "implied events left out") in item.left_out
    assert not any(f.event for f in item.facts)
    item = read_summary(ni, "rwpfs", {"contradictory": "used"})
    assert set(targets_of(item, TROP2)) == {"hazard ratio", "lower limit", "upper limit", "P"}
    each = read_summary(ni, "os", {"hazard_ratio": "compatible"})
    assert {kernel.COX, kernel.LOG_RANK, kernel.EXPECTED} <= {s.kind for s in each.statistics}
    with pytest.raises(BadInput, match="p_zeros"):
        read_summary(ni, "os", {"p_zeros": "guess"})


def test_zeros_that_fill_up_the_third_decimal_are_no_digits(ni):
    assert [without_padding(p) for p in ("0.020", "0.004", "0.100", "0.05", "1")] == [
        "0.02", "0.004", "0.10", "0.05", "1"
    ]  # fmt: skip
    for reading, half in (("padded", 0.005), ("printed", 0.0005)):
        p = targets_of(read_summary(ni, "os", {"p_zeros": reading}), "ni.eff.hr.os.bm")["P"]
        limits = chi2.sf([p.high, p.low], 1)
        np.testing.assert_allclose(limits, [0.030 - half, 0.030 + half], atol=1e-8)


def possible(ratio, lower, upper, first, second, half=0.005):
    """Events (of the first group, of both) and largest P that give a printed ratio and its limits.

    With E1 + E2 = O1 + O2 the limits fix E1; V <= E1 E2 / (O1 + O2) bounds the log-rank P above.
    """
    found = []
    for total in range(2, first + second + 1):
        expected = np.linspace(0.3, total - 0.3, 40_001)
        error = np.sqrt(1 / expected + 1 / (total - expected))
        for one in range(max(1, total - second), min(first, total - 1) + 1):
            middle = np.log(one / expected * (total - expected) / (total - one))
            good = np.abs(np.exp(middle) - ratio) <= half
            good &= np.abs(np.exp(middle - Z * error) - lower) <= half
            good &= np.abs(np.exp(middle + Z * error) - upper) <= half
            if good.any():
                least = ((one - expected[good]) ** 2 * error[good] ** 2).min()
                found.append((one, total, float(chi2.sf(least, 1))))
    return found


def test_limits_of_prior_trop2_contradict_the_progressions():
    """The numbers beside the readings in reconstruction.toml."""
    found = possible(2.51, 0.91, 6.93, 10, 54)
    assert {one for one, _, _ in found} == {9}
    assert {min(n for _, n, _ in found), max(n for _, n, _ in found)} == {20, 48}
    assert min(n for _, n, _ in possible(0.54, 0.31, 0.96, 32, 32)) == 47
    assert max(p for _, n, p in found if n >= 47) == pytest.approx(0.0103, abs=5e-5)
    assert max(n for _, n, p in found if p >= 0.015) == 32


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["rwpfs", "os"])
def test_a_chain_finds_cohorts_that_other_code_confirms(ni, endpoint):
    item = read_summary(ni, endpoint)
    found = chain(problem(item), Settings(replicas=14, warm=250, sweeps=60), 1)
    assert found is not None
    cohorts = [patients(item, found, d) for d in range(0, found.months.shape[0], 15)]
    table = match(item, cohorts)
    assert table["met"].all()
    assert len(table) == len(cohorts) * (len(printed(item)) + len(item.facts))
