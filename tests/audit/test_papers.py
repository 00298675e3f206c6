"""Both papers: the contradictions a careful reader finds, and nothing else."""

import time

import pytest

from her2bayes.audit.audit import FINDING_COLUMNS, ROW_COLUMNS, audit, evidence_rows
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS, EVIDENCE_KINDS, VERDICTS
from her2bayes.evidence.printed.study import load_study, published_folder


@pytest.fixture(scope="module", params=["shi2023", "ni2025"])
def audited(request):
    study = load_study(published_folder() / request.param)
    return study, audit(study)


def verdict(result):
    return result.rows.set_index("claim_id")["verdict"]


def test_every_row_has_one_verdict(audited):
    study, result = audited
    assert list(result.rows.columns) == list(ROW_COLUMNS)
    assert list(result.rows["claim_id"]) == list(study.ledger["claim_id"])
    assert set(result.rows["verdict"]) <= set(VERDICTS)
    assert set(result.rows["evidence_kind"]) <= set(EVIDENCE_KINDS)
    assert (result.rows["note"] != "").all()


def test_ids_named_exist(audited):
    study, result = audited
    known = set(study.ledger["claim_id"])
    for ids in (*result.rows["contradicts"], *result.findings["claim_ids"]):
        assert set(ids.split()) <= known
    assert list(result.findings.columns) == list(FINDING_COLUMNS)
    assert result.findings["finding_id"].is_unique


def test_what_is_missing_is_said(audited):
    _, result = audited
    missing = result.rows[result.rows["verdict"] == "not_checkable"]["note"]
    assert missing.str.contains("missing|nowhere|determines").all()


def test_evidence_rows_have_the_columns(audited):
    study, result = audited
    table = evidence_rows(study, result)
    assert tuple(table.columns) == EVIDENCE_COLUMNS
    assert table["posterior_median"].isna().all()
    assert list(table["claim_id"]) == list(study.ledger["claim_id"])


def test_time(audited):
    study, _ = audited
    start = time.process_time()
    audit(study)
    assert time.process_time() - start < 2


def test_contradictions_of_shi():
    found = verdict(audit(load_study(published_folder() / "shi2023")))
    assert dict(found[found.isin(["differs", "inconsistent"])]) == {
        "shi.abstract.bcss_dm": "inconsistent",
        "shi.results.surv.dm_p": "inconsistent",
        "shi.results.samples254": "inconsistent",
        "shi.results.evol.zero_to_low": "inconsistent",
        "shi.results.evol.hr_p": "differs",
        "shi.disc.sig.zero_low_better": "inconsistent",
        "shi.disc.22pct": "inconsistent",
    }
    assert not set(found) & {"method", "rounding"}


def test_contradictions_of_ni():
    result = audit(load_study(published_folder() / "ni2025"))
    found = verdict(result)
    numbers = found[~found.index.str.contains(r"\.sig\.")]
    assert dict(numbers[~numbers.isin(["reproduces", "not_checkable"])]) == {
        "ni.safety.dose_reduction": "differs",
        "ni.eff.hr.pfs.her2": "method",
        "ni.eff.hr.os.her2": "method",
        "ni.eff.hr.pfs.bm": "method",
        "ni.eff.hr.os.bm": "method",
        "ni.eff.hr.pfs.trop2": "method",
        "ni.eff.hr.os.trop2": "method",
    }
    kinds = list(result.findings["kind"])
    assert kinds.count("CI–P inconsistency") == 4
    assert "rounding" in kinds


def test_implied_value_is_said():
    rows = audit(load_study(published_folder() / "shi2023")).rows.set_index("claim_id")
    row = rows.loc["shi.results.evol.zero_to_low"]
    assert "127 − 83 − 19 = 25" in row["note"]
    assert row["reproduced"] == pytest.approx(100 * 25 / 51)
    assert "shi.abstract.zero_to_low" in row["contradicts"].split()


def test_words_that_numbers_refute_do_not_contradict_the_counts() -> None:
    """Ni 2025 calls 13/32 against 10/32 significant (Fisher P 0.60): the words are at fault."""
    table = audit(load_study(published_folder() / "ni2025")).rows.set_index("claim_id")
    assert table.loc["ni.disc.sig.orr_her2", "verdict"] == "inconsistent"
    for claim in ("ni.results.ihc1", "ni.eff.orr_ihc2", "ni.eff.orr_ihc1"):
        assert table.loc[claim, "verdict"] == "reproduces"
        assert "contradicted" not in table.loc[claim, "note"]
