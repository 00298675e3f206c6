"""Tests of independence against R 4.2 (each number with its call), limits and bad input."""

import numpy as np
import pytest

from her2bayes.classical import association
from her2bayes.errors import BadInput

# Shi 2023, Table 1: HER2 zero, low, positive by row
HR_STATUS = [[23, 92, 20], [30, 35, 47]]
AGE = [[19, 41, 30], [34, 86, 37]]
BCFI = [[5, 14, 12], [20, 31, 17], [28, 82, 38]]
SITE = [
    [8, 17, 9],
    [8, 20, 7],
    [3, 11, 6],
    [12, 37, 17],
    [6, 11, 4],
    [6, 11, 9],
    [4, 9, 5],
    [6, 11, 10],
]
DISCORDANT = [[54, 81], [40, 72]]  # by HR status


def p_value(table, method):
    return association.variants(table, [method])[0].p_value


R_P_VALUES = [
    (HR_STATUS, "Pearson chi-square", 1.90310409253413e-08),  # chisq.test(hr)$p.value
    (AGE, "Pearson chi-square", 0.226998018902034),
    (BCFI, "Pearson chi-square", 0.217443329269884),
    (SITE, "Pearson chi-square", 0.972610952274104),
    (DISCORDANT, "Pearson chi-square", 0.489805581450489),  # chisq.test(d, correct=FALSE)
    (DISCORDANT, "Pearson chi-square, Yates correction", 0.576164686250945),  # chisq.test(d)
    ([[3, 1], [1, 3]], "Pearson chi-square, Yates correction", 0.479500122186953),
    (DISCORDANT, "Fisher exact", 0.512747191612365),  # fisher.test(d)$p.value
    ([[3, 1], [1, 3]], "Fisher exact", 0.485714285714286),
    ([[5, 0], [1, 4]], "Fisher exact", 0.0476190476190476),
    (HR_STATUS, "Fisher-Freeman-Halton", 1.25281237194507e-08),  # fisher.test(hr)$p.value
    (AGE, "Fisher-Freeman-Halton", 0.233703490120173),
    (BCFI, "Fisher-Freeman-Halton", 0.240635961239825),  # fisher.test(b, workspace=2e7)
    # e<-chisq.test(b)$expected; g<-2*sum(b*log(b/e)); pchisq(g, 4, lower=FALSE)
    (BCFI, "likelihood-ratio G", 0.24389811047673),
    # x<-rep(row(b),b); y<-rep(col(b),b); pchisq((length(x)-1)*cor(x,y)^2, 1, lower=FALSE)
    (BCFI, "linear-by-linear trend", 0.638862694517349),
]


@pytest.mark.parametrize(("table", "method", "expected"), R_P_VALUES)
def test_p_value_equals_r(table, method, expected):
    np.testing.assert_allclose(p_value(table, method), expected, rtol=1e-9)


def test_sampled_freeman_halton_agrees_with_r_within_its_error():
    # set.seed(1); fisher.test(site, simulate.p.value=TRUE, B=1e6)$p.value, SE 0.00017
    result = association.variants(SITE, ["Fisher-Freeman-Halton"])[0]
    assert 0 < result.mcse < 0.001
    assert "sampled" in result.method
    assert abs(result.p_value - 0.970870029129971) < 4 * np.hypot(result.mcse, 0.00017)


def test_freeman_halton_of_two_rows_is_fisher():
    table = np.array([[7, 2], [3, 9]])
    wide = np.array([[7, 2, 0], [3, 9, 0]])
    exact = association._freeman_halton(table).p_value
    np.testing.assert_allclose(exact, p_value(table, "Fisher exact"), rtol=1e-9)
    np.testing.assert_allclose(p_value(wide, "Fisher exact"), exact, rtol=1e-9)  # empty column gone


@pytest.mark.parametrize("table", [HR_STATUS, AGE, BCFI, DISCORDANT])
def test_order_of_rows_and_columns_does_not_matter(table):
    counts = np.array(table)
    trend = "linear-by-linear trend"
    names = [m for m in association.applicable(counts) if m != trend]
    straight = [r.p_value for r in association.variants(counts, names)]
    turned = [r.p_value for r in association.variants(counts[::-1].T[::-1], names)]
    np.testing.assert_allclose(straight, turned, rtol=1e-7)


def test_cramers_v_equals_the_noncentral_inversion_in_r():
    # ncpb <- function(q,df,p) uniroot(function(l) pchisq(q,df,l)-p, c(0,1000), tol=1e-12)$root
    v = association.cramers_v(HR_STATUS)
    expected = (0.37940070426452, 0.248097277150318, 0.499457373384507)
    np.testing.assert_allclose((v.value, v.lower, v.upper), expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_corrected_v_lies_in_its_interval_and_no_table_raises(seed):
    rng = np.random.default_rng(seed)
    for size in (0, 1, 3, 8, 40, 400):
        table = rng.multinomial(size, rng.dirichlet(np.full(6, 0.5))).reshape(2, 3)
        v, filled = association.cramers_v(table), table[table.sum(axis=1) > 0]
        tests = association.variants(table)
        if min(filled.shape[0], (filled.sum(axis=0) > 0).sum()) < 2:
            assert np.isnan(v).all()
            assert all(np.isnan(t.p_value) and "two rows and two columns" in t.note for t in tests)
        elif np.isnan(v.corrected):  # as many patients as rows or columns
            assert table.sum() == max(filled.shape[0], (filled.sum(axis=0) > 0).sum())
        else:
            assert v.lower - 1e-12 <= v.corrected <= v.upper + 1e-12
            assert all(0 <= t.p_value <= 1 for t in tests)


def test_cramers_v_of_independence_is_zero_and_of_identity_one():
    independent = association.cramers_v(np.outer([10, 20], [30, 60]))
    assert independent.value == pytest.approx(0, abs=1e-9)
    assert independent.corrected == 0
    assert association.cramers_v([[50, 0], [0, 50]]).value == pytest.approx(1)


@pytest.mark.parametrize("table", [[[-1, 2], [3, 4]], [[0.5, 1], [2, 3]], [1, 2]])
def test_tables_that_are_no_counts_are_refused(table):
    with pytest.raises(BadInput):
        association.variants(table)
