"""Intervals of proportions against R 4.2 (each number with its call)."""

import numpy as np
import pytest

from her2bayes.classical import proportions
from her2bayes.errors import BadInput

# R 4.2.2, 10 of 32
R_INTERVALS = {
    "Wilson": (0.179525416336097, 0.485666783009554),  # prop.test(10, 32, correct=FALSE)$conf.int
    "Wilson, continuity-corrected": (0.16749493080883, 0.501362334998162),  # prop.test(10, 32)
    "Clopper-Pearson": (0.161184724088201, 0.50007758163217),  # binom.test(10, 32)$conf.int
    "Jeffreys": (0.173355231505638, 0.483871924333725),  # qbeta(c(.025, .975), 10.5, 22.5)
    # z<-qnorm(.975); nt<-32+z^2; pt<-(10+z^2/2)/nt; pt+c(-1,1)*z*sqrt(pt*(1-pt)/nt)
    "Agresti-Coull": (0.178352128462668, 0.486840070882984),
    # uniroot of P(X > x) + P(X = x)/2 = .025 and its mirror, tol=1e-13
    "mid-P": (0.170911914001647, 0.486706026913359),
}


@pytest.mark.parametrize("method", R_INTERVALS)
def test_interval_equals_r(method):
    np.testing.assert_allclose(proportions.interval(10, 32, method), R_INTERVALS[method], rtol=2e-9)


@pytest.mark.parametrize("method", proportions.INTERVALS)
@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (1, 1), (3, 247), (246, 247)])
def test_every_interval_is_inside_the_unit_interval_and_mirrors(method, count, total):
    low, high = proportions.interval(count, total, method)
    assert 0 <= low <= count / total <= high <= 1
    mirrored = proportions.interval(total - count, total, method)
    np.testing.assert_allclose((low, high), (1 - mirrored[1], 1 - mirrored[0]), atol=1e-9)


def test_goodman_equals_r():
    # A <- qchisq(1-.05/3, 1); (A + 2*n -+ sqrt(A*(A+4*n*(N-n)/N))) / (2*(N+A)), n = 53, 127, 67
    expected = [
        [0.158888961443161, 0.283205905059598],
        [0.438584137682215, 0.589113280292825],
        [0.209288973192695, 0.343595565210225],
    ]
    np.testing.assert_allclose(proportions.goodman([53, 127, 67]), expected, rtol=1e-12)


def test_newcombe_reproduces_his_published_example():
    # Newcombe 1998 (Stat Med 17:873), table II, method 10: 56/70 against 48/80, (0.0524, 0.3339)
    low, high = proportions.newcombe(56, 70, 48, 80)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(count, total):
    with pytest.raises(BadInput, match="within its total"):
        proportions.interval(count, total)


def test_unknown_method_lists_the_known():
    with pytest.raises(BadInput, match="Clopper-Pearson"):
        proportions.interval(1, 2, "exactish")


def test_goodman_refuses_an_empty_table():
    with pytest.raises(BadInput, match="not all zero"):
        proportions.goodman([0, 0, 0])
