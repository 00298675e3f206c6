"""Triplets printed from R's own output are compatible with the estimator that made them.

R 4.2, survival: lung by sex (coxph, survdiff) and veteran by large-cell histology (survdiff).
"""

from decimal import Decimal
from math import sqrt

import pytest

from her2bayes.audit import hazard_ratios as hr
from her2bayes.audit.hazard_ratios import Triplet


def triplet(ratio, lower, upper, p, relation="=", **known):
    numbers = [None if x is None else Decimal(x) for x in (ratio, lower, upper, p)]
    return Triplet(*numbers, relation, **known)


def names(found):
    return [fit.estimator for fit in hr.compatible(found)]


LUNG = {"patients": (90, 138), "events": (53, 112)}


def test_cox():
    # summary(coxph(Surv(time, status) ~ sex, lung)): 0.5880 (0.4237-0.8160), P 0.001491
    found = triplet("0.588", "0.424", "0.816", "0.0015", **LUNG)
    assert hr.WALD in names(found)
    assert hr.wald_p(found).holds(0.001491229205)
    assert hr.standard_error(found).holds(0.1671785832)


def test_cox_with_the_p_of_the_log_rank_test():
    # survdiff(Surv(time, status) ~ sex, lung): P 0.001311
    found = triplet("0.588", "0.424", "0.816", "0.0013", **LUNG)
    assert hr.WALD not in names(found)
    assert hr.LOG_RANK_P in names(found)


def test_observed_over_expected_with_the_error_from_expected():
    # (53/73.41826)/(112/91.58174), SE sqrt(1/E1 + 1/E2), P of survdiff
    found = triplet("0.590", "0.434", "0.802", "0.0013", **LUNG)
    assert hr.EXPECTED in names(found)
    assert hr.WALD not in names(found)


def test_observed_over_expected_with_the_error_from_observed():
    found = triplet("0.590", "0.426", "0.818", "0.0013", **LUNG)
    assert hr.OBSERVED in names(found)


def test_peto():
    # exp((O - E)/V), V = 40.37143, P by definition that of the log-rank test
    found = triplet("0.603", "0.443", "0.821", "0.0013", **LUNG)
    assert hr.PETO in names(found)


def test_interval_around_one_beside_a_significant_p_needs_no_cox():
    # veteran, large cell against others: O/E 0.6895 (0.4667-1.0186), log-rank P 0.0822
    found = triplet("0.689", "0.467", "1.019", "0.082", patients=(27, 110), events=(26, 102))
    assert hr.EXPECTED in names(found)


def test_unknown_events_are_searched():
    found = triplet("0.590", "0.434", "0.802", "0.0013", patients=(90, 138))
    assert hr.EXPECTED in names(found)


def test_parts_that_no_estimator_gives():
    found = triplet("0.588", "0.424", "0.816", "0.21", **LUNG)
    assert names(found) == []


def test_asymmetric_interval():
    found = triplet("0.588", "0.424", "0.916", "0.0015", **LUNG)
    assert not hr.is_symmetric(found)
    assert hr.odd_part(found) == "upper bound"
    assert names(found) == []


def test_hazard_ratio_that_its_own_interval_and_p_contradict():
    found = triplet("0.688", "0.424", "0.816", "0.0015", **LUNG)
    assert hr.odd_part(found) == "hazard ratio"


def test_error_that_the_events_forbid():
    # 9 and 30 events need an SE of at least 0.380
    found = triplet("0.500", "0.300", "0.833", "0.008", patients=(67, 127), events=(9, 30))
    assert hr.least_cox_error(found) == pytest.approx(sqrt(1 / 9 + 1 / 30))
    assert hr.WALD not in names(found)


def test_wald_p_is_an_interval_over_the_rounding():
    # hr 0.54 (0.31-0.96): P from 2*pnorm(-log(0.5455)/0.2884) = 0.0355, wider with the rounding
    found = hr.wald_p(triplet("0.54", "0.31", "0.96", None))
    assert found.lower < 0.0327 < found.upper
    assert found.width < 0.02


def test_large_groups_stay_fast():
    found = triplet("0.90", "0.85", "0.95", "0.0002", patients=(10**6, 10**6))
    assert hr.WALD in names(found)


def test_zero_lower_bound_does_not_fail():
    assert isinstance(names(triplet("0.10", "0.00", "3.50", "0.21")), list)
