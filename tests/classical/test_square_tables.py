"""Square tables against R 4.2.2 (tests/reference/square_tables.R prints every number here)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from her2bayes.classical import square_tables as sq
from her2bayes.classical import square_tables as strata
from her2bayes.errors import BadInput

MSK = np.array([[124, 48, 3], [116, 162, 13], [7, 19, 79]])  # MSK 2018, zero, low, positive
HR_POSITIVE = np.array([[103, 43, 3], [100, 149, 12], [6, 16, 50]])
HR_NEGATIVE = np.array([[21, 5, 0], [16, 13, 1], [1, 3, 29]])
# changed, unchanged by HR positive, negative: one table a class of the primary
CHANGED = [[[46, 103], [5, 21]], [[112, 149], [17, 13]], [[22, 50], [4, 29]]]
EXACT = {"rel": 1e-9}


def result(test):
    return (test.statistic, test.df, test.p_value)


def test_bowker():
    # mcnemar.test(x)
    expected = (30.9201219512195, 3, 8.83612054891871e-07)
    assert result(sq.bowker(MSK)) == pytest.approx(expected, **EXACT)
    assert f"{sq.bowker(MSK).statistic:.1f}" == "30.9"


def test_margins():
    # d' S^-1 d written out in R
    expected = (30.6226415094340, 2, 2.24066992819806e-07)
    assert result(sq.stuart_maxwell(MSK)) == pytest.approx(expected, **EXACT)
    expected = (32.3579958100559, 2, 9.40915205913488e-08)
    assert result(sq.bhapkar(MSK)) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(
    ("method", "statistic", "p_value"),
    [
        ("McNemar", 28.1951219512195, 1.09680644011531e-07),  # mcnemar.test(m, correct = FALSE)
        ("McNemar, continuity correction", 27.3719512195122, 1.67848226944874e-07),
        ("McNemar exact", 48, 1.117149274449e-07),  # binom.test(48, 164)
        ("McNemar mid-P", 48, 7.83413520672066e-08),  # 2*pbinom(47,164,.5)+dbinom(48,164,.5)
    ],
)
def test_mcnemar(method, statistic, p_value):
    test = sq.mcnemar(48, 116, method)
    assert (test.statistic, test.p_value) == pytest.approx((statistic, p_value), **EXACT)
    assert sq.mcnemar(116, 48, method).p_value == pytest.approx(p_value, **EXACT)


def test_mcnemar_small():
    assert sq.mcnemar(5, 7, "McNemar exact").p_value == pytest.approx(0.7744140625, **EXACT)
    assert sq.mcnemar(6, 6).p_value == 1
    assert sq.mcnemar(0, 0).p_value == 1


@pytest.mark.parametrize(
    ("kind", "value", "error", "lower", "upper"),
    [  # delta method with numerical derivatives in R
        ("unweighted", 0.4295593641186798, 0.0327391511018993, 0.3653918070745423, 0.4937269211628),
        ("linear", 0.5042008023733529, 0.0309216683667547, 0.4435954460326221, 0.5648061587140836),
        (
            "quadratic",
            0.5963963316381236,
            0.0306807641443845,
            0.536262813896962,
            0.6565295243792851,
        ),
    ],
)
def test_kappa(kind, value, error, lower, upper):
    k = sq.kappa(MSK, kind)
    assert k.value == pytest.approx(value, **EXACT)
    assert (k.standard_error, k.lower, k.upper) == pytest.approx((error, lower, upper), rel=1e-6)


def test_kappa_null_error():
    # sqrt(pe + pe^2 - sum(r * c * (r + c))) / ((1 - pe) * sqrt(n))
    assert sq.kappa(MSK).null_error == pytest.approx(0.0301656592804285, **EXACT)


def test_row_shares():
    rows = sq.transition_intervals(MSK)
    # binom.test(48, 175)$conf.int
    assert rows["lower"][0, 1] == pytest.approx(0.209675543333966, **EXACT)
    assert rows["upper"][0, 1] == pytest.approx(0.346713247443531, **EXACT)
    assert np.isnan(sq.transition_intervals([[0, 0], [1, 2]])["share"][0]).all()


def test_general_association():
    # mantelhaen.test(array(c(hp, hn), c(3, 3, 2)))
    expected = (331.442273880084, 4, 1.77916143175137e-70)
    found = result(strata.general_association([HR_POSITIVE, HR_NEGATIVE]))
    assert found == pytest.approx(expected, **EXACT)


def test_mantel_haenszel():
    # mantelhaen.test(two, correct = FALSE) and with correction; metafor::rma.mh gives the same
    common = strata.mantel_haenszel(CHANGED)
    expected = (1.224876112093198, 0.734861310107896, 2.041638972333794)
    assert (common.value, common.lower, common.upper) == pytest.approx(expected, **EXACT)
    assert result(common.test) == pytest.approx((0.598534670792737, 1, 0.439137662338672), **EXACT)
    corrected = strata.mantel_haenszel(CHANGED, correct=True).test
    assert result(corrected) == pytest.approx((0.418246711375161, 1, 0.517813200159051), **EXACT)


def test_breslow_day():
    # bd(two) in R; Tarone's value is rma.mh(...)$TA
    plain = strata.breslow_day(CHANGED, tarone=False)
    assert result(plain) == pytest.approx((7.32353736653035, 2, 0.0256870402867555), **EXACT)
    tarone = strata.breslow_day(CHANGED)
    assert result(tarone) == pytest.approx((7.32351043173971, 2, 0.0256873862266086), **EXACT)


def test_equal_kappas():
    pooled, test = strata.common_kappa([HR_POSITIVE, HR_NEGATIVE])
    assert (pooled.value, pooled.standard_error) == pytest.approx(
        (0.4285696696786692, 0.0326151493904421), rel=1e-6
    )
    expected = (4.9352632146935562, 1, 0.0263140547042424)
    assert result(test) == pytest.approx(expected, rel=1e-6)


def test_directions_across_strata():
    # chisq.test(rbind(c(43, 100), c(5, 16)), correct = FALSE)
    test = strata.stratified_mcnemar([43, 5, 0], [100, 16, 0])
    assert result(test) == pytest.approx((0.346661001833416, 1, 0.556009369067900), **EXACT)


@pytest.mark.parametrize(
    "table", [[[1, 2, 3], [4, 5, 6]], [[1.5, 2], [3, 4]], [[-1, 2], [3, 4]], [[0, 0], [0, 0]]]
)
def test_not_a_table_of_pairs(table):
    with pytest.raises(BadInput):
        sq.bowker(table)


def test_unknown_names():
    with pytest.raises(BadInput, match="unknown variant"):
        sq.mcnemar(1, 2, "exact")
    with pytest.raises(BadInput, match="unknown weights"):
        sq.kappa(MSK, "cubic")
    with pytest.raises(BadInput, match="tables of one shape"):
        strata.mantel_haenszel([MSK])


@given(arrays(int, st.sampled_from([(2, 2), (3, 3), (4, 4)]), elements=st.integers(0, 40)))
def test_properties(table):
    if not table.sum():
        return
    k = sq.kappa(table)
    assert np.isnan(k.value) or -1 - 1e-9 <= k.value <= 1 + 1e-9
    for test in (sq.bowker(table), sq.stuart_maxwell(table)):
        if test.df:
            assert 0 <= test.p_value <= 1
            assert test.statistic >= -1e-9
        else:  # NA with the reason, as mcnemar.test(diag(2)) is in R
            assert np.isnan(test.p_value)
            assert test.note == "not available: no patient changed class"
    back = sq.bowker(table.T).statistic
    assert sq.bowker(table).statistic == pytest.approx(back, nan_ok=True)
    symmetric = table + table.T
    if (symmetric != np.diag(np.diag(symmetric))).any():
        assert sq.bowker(symmetric).statistic == 0
        assert sq.stuart_maxwell(symmetric).statistic == pytest.approx(0, abs=1e-9)
    if len(table) == 2 and table[0, 1] + table[1, 0]:
        both = sq.mcnemar(int(table[0, 1]), int(table[1, 0]), "McNemar").statistic
        assert sq.bowker(table).statistic == pytest.approx(both)
        assert sq.stuart_maxwell(table).statistic == pytest.approx(both, rel=1e-6)
