"""The evidence table: every ledger id once, exact columns, posterior where the estimand meets."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from her2bayes.distribution.classical import classical_rows
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS
from her2bayes.evidence.printed.study import Study
from her2bayes.files import cell, csv_text, write_csv
from her2bayes.page.evidence_table import join, join_unprinted


@pytest.fixture
def table(study: Study, audited: pd.DataFrame, estimates: pd.DataFrame) -> pd.DataFrame:
    classical = classical_rows(study.status_counts(), estimates["estimand"])
    return join(study, audited, estimates, classical)


def test_columns_are_exactly_those_of_the_schema(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == EVIDENCE_COLUMNS


def test_every_ledger_id_once_and_in_order_then_what_is_not_printed(
    study: Study, table: pd.DataFrame
) -> None:
    ledger = list(study.ledger["claim_id"])
    assert list(table["claim_id"])[: len(ledger)] == ledger
    assert set(table["claim_id"][len(ledger) :]) == {""}
    assert set(table["study"]) == {"hostile"}


def test_each_printing_of_an_estimand_meets_the_same_posterior(table: pd.DataFrame) -> None:
    printed = table[table["estimand"] == "share[her2=low]"]
    assert list(printed["claim_id"]) == ["h.low", "h.low2"]
    assert list(printed["posterior_median"]) == [49.5, 49.5]
    assert list(printed["fit_id"]) == ["0123456789ab"] * 2


def test_a_reproduced_share_carries_its_named_interval(table: pd.DataFrame) -> None:
    row = table.set_index("claim_id").loc["h.low"]
    # R 4.2.2: 100 * prop.test(20, 40, correct = FALSE)$conf.int
    assert row["reproduced_lower"] == pytest.approx(35.19952693, abs=1e-6)
    assert row["reproduced_upper"] == pytest.approx(64.80047307, abs=1e-6)
    assert row["method"] == "count / denominator; 95 % CI: Wilson"


def test_a_p_value_is_answered_by_differences_of_shares_and_no_second_p(
    table: pd.DataFrame,
) -> None:
    row = table.set_index("claim_id").loc["h.p"]
    assert row["posterior_median"] == 22.0  # two levels, one class: the only difference
    assert row["posterior_probability"] == 0.9
    assert row["unit"] == "%"
    assert row["published_p"] == 0.04
    assert "share_difference[her2=low ; hr_status: positive vs negative]" in row["note"]
    assert "22.0 (17.0–27.0) percentage points" in row["note"]
    assert "probability of this sign 90.0" in row["note"]


def test_several_differences_are_answered_by_the_largest_as_one_quantity(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    more = [
        estimates.iloc[[3]].assign(
            estimand="share_difference[her2=zero ; hr_status: positive vs negative]",
            posterior_median=-30.0,
            posterior_probability=0.02,
        ),
        estimates.iloc[[3]].assign(
            estimand="heterogeneity[her2 share ; hr_status]",
            posterior_median=31.0,
            note="largest difference; P(above 10)",
        ),
    ]
    row = join(study, audited, pd.concat([estimates, *more])).set_index("claim_id").loc["h.p"]
    assert row["posterior_median"] == 31.0
    assert "2 rows share_difference" in row["note"]
    assert "probability of this sign 98.0" in row["note"]
    assert "posterior columns: largest difference; P(above 10)" in row["note"]


def test_what_is_not_printed_follows_with_its_classical_side(table: pd.DataFrame) -> None:
    beyond = table[table["claim_id"] == ""].set_index("estimand")
    difference = beyond.loc["share_difference[her2=low ; hr_status: positive vs negative]"]
    assert difference["reproduced"] == pytest.approx(60 - 100 / 3)
    assert "Newcombe" in difference["method"]
    v = beyond.loc["association[her2 ; hr_status]"]
    assert v["statistic"] == "cramers_v"
    assert np.isnan(v["posterior_median"])
    assert set(beyond["verdict"]) == {""}


def test_a_reading_meets_the_estimate_of_its_own_reading(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    audited.loc[audited["claim_id"] == "h.low2", "reading"] = "abstract"
    other = estimates.iloc[[0]].assign(reading="abstract", posterior_median=61.0)
    table = join(study, audited, pd.concat([estimates, other])).set_index("claim_id")
    assert table.loc["h.low", "posterior_median"] == 49.5
    assert table.loc["h.low2", "posterior_median"] == 61.0


def test_an_adjusted_claim_meets_no_unadjusted_estimate(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    audited.loc[audited["claim_id"] == "h.low2", "reading"] = "multivariable"
    joined = join(study, audited, estimates).set_index("claim_id")
    assert pd.isna(joined.loc["h.low2", "posterior_median"])


def test_a_lost_row_of_the_audit_is_an_error(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match="exactly one row for each ledger id"):
        join(study, audited.iloc[1:], estimates)


def test_units_must_agree(study: Study, audited: pd.DataFrame, estimates: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"h\.low: printed in '%', estimated in 'months'"):
        join(study, audited, estimates.assign(unit="months"))


def test_two_estimates_of_one_quantity_are_an_error(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match="two estimates"):
        join(study, audited, pd.concat([estimates, estimates]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=cmd()", "'=cmd()"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+2", "'+1+2"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-0.86", "-0.86"),
        ("+5", "+5"),
        (-0.86, "-0.86"),
        (0.1 + 0.2, "0.3"),
        (247, "247"),
        (np.int64(3), "3"),
        (25.0, "25"),
        (float("nan"), ""),
        (None, ""),
        (pd.NA, ""),
        ("plain = text", "plain = text"),
    ],
)
def test_cells_are_safe_in_a_spreadsheet(value: object, text: str) -> None:
    assert cell(value) == text


def test_the_file_is_utf8_with_lf_and_reads_back(table: pd.DataFrame, tmp_path) -> None:
    path = tmp_path / "evidence.csv"
    write_csv(table, path)
    content = path.read_bytes()
    assert b"\r" not in content
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
    assert len(rows) == len(table)
    assert rows[2]["locator"] == "'=Table 1"
    assert float(rows[1]["posterior_median"]) == 49.5


def test_same_input_same_text(table: pd.DataFrame) -> None:
    assert csv_text(table) == csv_text(table.copy())


def unprinted(posterior: str, classical: str, kind: str = "share[her2=zero]") -> pd.DataFrame:
    """Evidence of one quantity that no paper prints, in the units of its two sources."""
    fitted = pd.DataFrame([{"estimand": kind, "posterior_median": 0.787, "unit": posterior}])
    computed = {"estimand": kind, "statistic": "percentage", "reproduced": 78.9, "unit": classical}
    return join_unprinted("cohort", fitted, pd.DataFrame([computed]))


@pytest.mark.parametrize(("posterior", "classical"), [("", "%"), ("%", "")])
def test_a_row_that_is_not_printed_has_one_unit_too(posterior: str, classical: str) -> None:
    """Reproduced 78.9 beside a posterior of 0.787."""
    with pytest.raises(ValueError, match=r"share\[her2=zero\]: estimated in '.*', computed in"):
        unprinted(posterior, classical)


def test_units_of_a_row_are_those_of_its_kind() -> None:
    with pytest.raises(ValueError, match="share is in '%'"):
        unprinted("", "")
    assert unprinted("%", "%")["unit"].tolist() == ["%"]


def test_a_printed_number_without_unit_meets_no_percentage(
    study: Study, audited: pd.DataFrame, estimates: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match="printed in '', estimated in '%'"):
        join(study, audited.assign(unit=""), estimates)
