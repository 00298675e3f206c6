"""Percentage, count and denominator of one row, and denominators printed elsewhere."""

import pytest

from her2bayes.audit.audit import audit


def rows_of(study):
    return audit(study).rows.set_index("claim_id")


@pytest.mark.parametrize(
    ("count", "total", "value", "verdict"),
    [
        (53, 247, "21.5", "reproduces"),
        (35, 112, "31.3", "reproduces"),  # exactly 31.25, half up
        (10, 32, "31.2", "reproduces"),  # exactly 31.25, half even
        (2, 3, "66.6", "rounding"),  # cut off
        (5, 64, "10.9", "differs"),
        (24, 28, "86", "reproduces"),
    ],
)
def test_verdicts(make, printed, count, total, value, verdict):
    found = rows_of(make([printed.share("a", "share[sex=men]", count, total, value)]))
    assert found.loc["a", "verdict"] == verdict
    assert found.loc["a", "reproduced"] == pytest.approx(100 * count / total)


def test_notes_name_the_half_rule_and_the_chance(make, printed):
    found = rows_of(make([printed.share("a", "share[sex=men]", 10, 32, "31.2")]))
    assert "exactly halfway, printed as half even gives it" in found.loc["a", "note"]
    assert "GRIM: 3.3 % consistent with n = 32 by chance" in found.loc["a", "note"]  # 33 of 1001


def test_percentage_that_fits_no_count(make, printed):
    bare = printed.row("a", "share[sex=men]", "percentage", value="22.0", denominator=247)
    result = audit(make([printed.count("n", "count[]", 247), bare], patients=247))
    found = result.rows.set_index("claim_id").loc["a"]
    assert found["verdict"] == "inconsistent"
    assert found["contradicts"] == "n"
    assert "GRIM: 25 % consistent by chance" in result.findings["sentence"].iloc[0]


def test_printed_denominator_is_suggested_only_where_it_is_no_accident(make, printed):
    rows = [
        printed.share("w", "share[sex=women]", 61, 97, "62.9"),
        printed.share("x", "share[her2=low | sex=women]", 13, 97, "21.3"),  # 13/61 = 21.3
    ]
    note = rows_of(make([*rows, printed.share("y", "share[her2=zero | sex=women]", 9, 61, "14.8")]))
    assert "over 61, printed elsewhere as a denominator" in note.loc["x", "note"]


def test_no_suggestion_where_any_percentage_would_fit(make, printed):
    bare = printed.row("a", "share[sex=men]", "percentage", value="22.0", denominator=247)
    rows = [bare, printed.share("b", "share[her2=low]", 120, 254, "47.2")]
    # 22.0 % fits 56 of 254, but a quarter of all percentages does
    assert "over 254" not in rows_of(make(rows)).loc["a", "note"]


def test_mixed_rules_are_one_finding(make, printed):
    rows = [
        printed.share("up", "share[sex=men]", 20, 64, "31.3"),
        printed.share("even", "share[her2=low]", 10, 32, "31.2", reading="other"),
    ]
    result = audit(make(rows, patients=64))
    assert list(result.findings["kind"]) == ["rounding"]
    assert set(result.rows["verdict"]) == {"reproduces"}


def test_unknown_patients_in_the_denominator(make, printed):
    rows = [
        printed.count("n", "count[]", 100),
        printed.count("u", "count[| age=unknown]", 20),
        printed.share("old", "share[age=>50]", 40, 100, "40.0"),
    ]
    result = audit(make(rows))
    assert result.rows.set_index("claim_id").loc["old", "verdict"] == "reproduces"
    sentence = result.findings["sentence"].iloc[0]
    assert (
        "over all 100, the 20 with unknown value included; of the 80 known it is 50.0 %" in sentence
    )


def test_statements_with_more_than(make, printed):
    rows = [
        printed.share("low", "share[her2=low]", 43, 64, "67.2"),
        printed.share("again", "share[her2=low]", 43, 64, "67.2", locator="Abstract"),
        printed.row("more", "share[her2=low]", "percentage", value="66.7", relation=">"),
        printed.row("less", "share[her2=low]", "percentage", value="66.7", relation="<"),
    ]
    found = rows_of(make(rows))["verdict"]
    assert found["more"] == "reproduces"
    assert found["less"] in {"inconsistent", "differs"}


def test_share_that_reduces_to_no_count_is_still_divided(make, printed):
    share = printed.share("s", "survival[os @ 24 months]", 30, 60, "51.0")
    assert rows_of(make([share])).loc["s", "verdict"] == "differs"


def test_interval_by_name(make, printed):
    # binom.test(13, 32)$conf.int: 23.7 to 59.4
    share = printed.share("a", "share[sex=men]", 13, 32, "40.6", lower="23.7", upper="59.4")
    found = rows_of(make([share])).loc["a"]
    assert found["verdict"] == "reproduces"
    assert "Clopper-Pearson" in found["note"]
    share = printed.share("a", "share[sex=men]", 13, 32, "40.6", lower="21.7", upper="59.4")
    found = rows_of(make([share])).loc["a"]
    assert found["verdict"] == "differs"
    assert "nearest" in found["note"]
