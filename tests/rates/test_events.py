"""Two arms: exchanging them mirrors every answer; any event at all is compared for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.rates.events import read
from her2bayes.rates.fitted import TwoArmFit, fit_adverse_events
from her2bayes.rates.rate_exact import RateDifference, beta

QUICK = Sampling(draws=300, tune=400, chains=2)


def rows(*cells: tuple[str, str, str, int, int]) -> pd.DataFrame:
    """Arm, event, severity, count, patients."""
    frame = pd.DataFrame(cells, columns=["arm", "event", "severity", "count", "patients"])
    return frame.assign(body_system="", row=np.arange(2, len(cells) + 2))


def exchanged(table: pd.DataFrame) -> pd.DataFrame:
    """The same counts under the names of the other arm, the first name still first."""
    first, second = dict.fromkeys(table["arm"])
    turned = table.assign(arm=table["arm"].map({first: second, second: first}))
    return turned.sort_values("arm", key=lambda arm: arm == second, kind="stable")


def answers(table: pd.DataFrame) -> TwoArmFit:
    found = fit_adverse_events(table.drop(columns="row"), sampling=QUICK)
    assert isinstance(found, TwoArmFit)
    return found


def mirrored(one: TwoArmFit, other: TwoArmFit) -> None:
    """Rates change places, differences their sign, to the last digits."""
    known = {row["estimand"]: row for row in other.estimates().to_dict("records")}
    for row in one.estimates().to_dict("records"):
        name = str(row["estimand"])
        for which in ("posterior", "prior"):
            found = [row[f"{which}_{part}"] for part in ("lower", "median", "upper")]
            if "difference" in name:
                there = [-known[name][f"{which}_{part}"] for part in ("upper", "median", "lower")]
            else:
                turned = name.replace("arm=a", "arm=?").replace("arm=b", "arm=a")
                there = [
                    known[turned.replace("arm=?", "arm=b")][f"{which}_{part}"]
                    for part in ("lower", "median", "upper")
                ]
            assert found == pytest.approx(there, abs=1e-8), name
    swap = {"more_in_treated": "fewer_in_treated", "fewer_in_treated": "more_in_treated"}
    same = ["no_difference", "fisher_p", "benjamini_hochberg_p"]
    mine, theirs = (r.differences.set_index(["severity", "event"]) for r in (one, other))
    for name in (*swap, *same):
        theirs_in_place = theirs[swap.get(name, name)].reindex(mine.index)
        np.testing.assert_allclose(mine[name], theirs_in_place, atol=1e-12)


@pytest.mark.slow
def test_exchanged_arms_mirror_every_answer() -> None:
    """2/13 against 0/15. R 4.2.2: fisher.test(matrix(c(2, 11, 0, 15), 2))$p.value 0.20634921."""
    table = rows(
        ("a", "any", "any", 7, 13), ("a", "ild", "any", 2, 13), ("a", "nausea", "any", 5, 13),
        ("b", "any", "any", 9, 15), ("b", "ild", "any", 0, 15), ("b", "nausea", "any", 6, 15),
    )  # fmt: skip
    one, other = answers(table), answers(exchanged(table))
    mirrored(one, other)
    mirrored(other, one)
    ild = one.differences.set_index("event").loc["ild"]
    assert ild["fisher_p"] == pytest.approx(0.20634921, abs=1e-8)
    assert ild["fewer_in_treated"] > 2 * ild["more_in_treated"]  # 0 of 15 in the second arm


def test_any_event_alone_in_two_arms() -> None:
    """0 of 18 and 0 of 17: P(Beta(1, 18) > Beta(1, 19)) = 19 / 37; exact tests cannot reject."""
    table = rows(("arm 1", "any", "any", 0, 18), ("arm 2", "any", "any", 0, 17))
    found = answers(table)
    assert found.sampled == {}
    (row,) = found.differences.to_dict("records")
    assert row["more_in_treated"] == pytest.approx(19 / 37, abs=1e-6)
    assert (row["fisher_p"], row["barnard_p"], row["boschloo_p"]) == (1.0, 1.0, 1.0)
    rates = found.estimates().set_index("estimand")
    first = rates.loc["event_rate[any | arm=arm 1, severity=any]"]
    assert first["posterior_upper"] == pytest.approx(100 * stats.beta(1, 19).ppf(0.975), abs=1e-6)
    assert len(found.classical()) == 3


def test_exact_tests_of_any_event() -> None:
    """R 4.2.2: fisher.test(matrix(c(9, 3, 4, 12), 2))$p.value; Barnard and Boschloo lie below."""
    (row,) = answers(
        rows(("a", "any", "any", 9, 12), ("b", "any", "any", 4, 16))
    ).differences.to_dict("records")
    assert row["fisher_p"] == pytest.approx(0.020017649, abs=1e-8)
    assert row["barnard_p"] < row["fisher_p"]
    assert row["boschloo_p"] < row["fisher_p"]


@pytest.mark.parametrize(("a", "b"), [((9, 12), (4, 16)), ((0, 3), (3, 3)), ((40, 900), (2, 7))])
def test_difference_of_two_rates(a: tuple[int, int], b: tuple[int, int]) -> None:
    """Against a million draws; exchanged rates give the mirrored distribution."""
    laws = [(1 + y, 1 + n - y) for y, n in (a, b)]
    gap = RateDifference(*(beta(*law) for law in laws))
    turned = RateDifference(gap.b, gap.a)
    rng = np.random.default_rng(1)
    drawn = np.subtract(*(rng.beta(*law, size=1_000_000) for law in laws))
    share = np.array([0.025, 0.5, 0.975])
    assert gap.ppf(share) == pytest.approx(np.quantile(drawn, share), abs=2e-3)
    assert gap.mean() == pytest.approx(drawn.mean(), abs=1e-3)
    assert gap.std() == pytest.approx(drawn.std(), abs=1e-3)
    assert gap.ppf(share) == pytest.approx(-turned.ppf(share)[::-1], abs=1e-11)
    assert gap.cdf(0.1) == pytest.approx(1 - turned.cdf(-0.1), abs=1e-14)


def test_arms_that_do_not_match_are_named() -> None:
    with pytest.raises(BadInput, match="any, severity any, is not counted in the arm b"):
        read(rows(("a", "any", "any", 1, 9), ("b", "rash", "any", 1, 9)), Path("t.csv"))
    with pytest.raises(BadInput, match=r"row 3.*nobody at risk"):
        read(rows(("a", "any", "any", 1, 9), ("b", "any", "any", 0, 0)), Path("t.csv"))
    three = rows(*((arm, "any", "any", 1, 9) for arm in "abc"))
    with pytest.raises(BadInput, match="two names, one in every row"):
        read(three, Path("t.csv"))
    above = rows(
        ("a", "any", "any", 1, 9), ("b", "any", "any", 2, 9),
        ("a", "any", "grade 3", 2, 9), ("b", "any", "grade 3", 2, 9),
    )  # fmt: skip
    with pytest.raises(BadInput, match="any: more patients with grade 3 than with any severity"):
        read(above, Path("t.csv"))
