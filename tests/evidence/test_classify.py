"""The rule of the papers, line by line, and the readings that partial knowledge leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her2bayes.evidence.classify import (
    PAPERS,
    Scheme,
    classify,
    hr_status,
    is_missing,
    parse_receptor,
    parse_score,
    parse_verdict,
    reading_classes,
    reading_name,
)

ULTRALOW = Scheme(
    ("zero", "ultralow", "low", "positive"),
    (("0", ("zero",)), ("1", ("low",)), ("2", ("low",)), ("ultralow", ("ultralow",))),
)


def reading(ihc: str, ish: str = "", overall: str = "", scheme: Scheme = PAPERS) -> str:
    score = () if is_missing(ihc) else parse_score(ihc)
    assert score is not None
    verdicts = ["" if is_missing(v) else parse_verdict(v) for v in (ish, overall)]
    assert None not in verdicts
    return classify(score, *verdicts, scheme).reading


@pytest.mark.parametrize(
    ("ihc", "ish", "overall", "expected"),
    [
        # any positive verdict (ISH or overall) is positive
        ("0", "Positive", "", "positive"),
        ("0-1+", "Positive", "Negative", "positive"),
        ("1+", "", "Positive", "positive"),
        ("2+", "Positive", "Negative", "positive"),
        ("2+", "Negative", "Positive", "positive"),
        ("", "Positive", "", "positive"),
        ("", "", "Positive", "positive"),
        # otherwise 3+ is positive
        ("3+", "", "", "positive"),
        ("3+", "Negative", "", "positive"),
        ("3+", "Negative", "Equivocal", "positive"),
        ("3+", "", "Negative", "positive"),
        # 2+ (and 1-2+) with a negative ISH or overall verdict is low, without one {low, positive}
        ("2+", "Negative", "", "low"),
        ("2+", "", "Negative", "low"),
        ("2+", "", "", "low/positive"),
        ("2+", "Equivocal", "Equivocal", "low/positive"),
        ("2+", "Test Failure", "", "low/positive"),
        ("1-2+", "Negative", "", "low"),
        ("1-2+", "", "Negative", "low"),
        ("1-2+", "", "", "low/positive"),
        ("2-3+", "", "", "low/positive"),
        # 1+ is low, 0 is zero, 0-1+ is {zero, low}
        ("1+", "", "", "low"),
        ("1+", "Negative", "Negative", "low"),
        ("0", "", "", "zero"),
        ("0+", "Not Applicable", "Negative", "zero"),
        ("0-1+", "", "", "zero/low"),
        ("0-1+", "Negative", "Negative", "zero/low"),
        # a negative verdict without a score is {zero, low}
        ("Not Available", "Negative", "", "zero/low"),
        ("Not Available", "", "Negative", "zero/low"),
        # nothing is unknown
        ("Not Available", "Unk/ND", "Unk/ND", "unknown"),
        ("", "Equivocal", "", "unknown"),
        # notes in brackets do not change the leading score, nor a verdict
        ("1+ (focal)", "", "", "low"),
        ("1+ (3+ outside)", "", "", "low"),
        ("2+ (3+ outside)", "Negative", "", "low"),
        ("3+ (2+ outside)", "", "", "positive"),
        ("3+ (heterogenous 70-80% pos)", "", "", "positive"),
        ("1-2+ (outside 3+)", "Negative", "", "low"),
        ("Not Available", "", "Negative (Outside Positive)", "zero/low"),
    ],
)
def test_rule(ihc: str, ish: str, overall: str, expected: str) -> None:
    assert reading(ihc, ish, overall) == expected


@pytest.mark.parametrize("text", ["4+", "-1", "12", "1.5", "2++", "3+ strong", "+", "IHC", "0-4+"])
def test_not_a_score(text: str) -> None:
    assert parse_score(text) is None


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("2", ("2",)),
        ("2.0", ("2",)),
        (" 3 + ", ("3",)),
        ("IHC 2+", ("2",)),
        ("Score: 1+", ("1",)),
        ("1+-2+", ("1", "2")),
        ("0/1+", ("0", "1")),
        ("0 to 1+", ("0", "1")),
        ("0–1+", ("0", "1")),
        ("0-2+", ("0", "1", "2")),
        ("ultralow", ("ultralow",)),
        ("0 (ultra-low)", ("ultralow",)),
        (">0<1+", ("ultralow",)),
    ],
)
def test_score_spellings(text: str, scores: tuple[str, ...] | None) -> None:
    assert parse_score(text) == scores


def test_tcga_missing_words_stand_in_brackets() -> None:
    for text in ("[Not Available]", "[Not Evaluated]", "[Unknown]", "", " NA ", "Unk/ND"):
        assert is_missing(text)
    assert not is_missing("Negative")
    assert parse_verdict("Indeterminate") == ""
    assert parse_verdict("Positve") is None


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("90", "positive"),
        ("1", "positive"),
        ("1 (weak intensity)", "positive"),
        ("0", "negative"),
        ("0.5 %", "negative"),
        ("<1", "negative"),
        ("<10", ""),
        (">60", "positive"),
        ("30-60", "positive"),
        ("0-5", ""),
        ("Positive", "positive"),
        ("Negative", "negative"),
        ("Indeterminate", ""),
        ("101", None),
        ("120%", None),
        ("abc", None),
    ],
)
def test_receptor(text: str, verdict: str | None) -> None:
    assert parse_receptor(text) == verdict


def test_receptor_threshold() -> None:
    assert parse_receptor("5", threshold=10) == "negative"
    assert parse_receptor("5-20", threshold=10) == ""


@pytest.mark.parametrize(
    ("er", "pr", "expected"),
    [
        ("positive", "negative", "positive"),
        ("", "positive", "positive"),
        ("negative", "negative", "negative"),
        ("negative", "", ""),
        ("", "", ""),
    ],
)
def test_hr_status(er: str, pr: str, expected: str) -> None:
    assert hr_status(er, pr) == expected


@pytest.mark.parametrize(
    ("ihc", "overall", "expected"),
    [
        ("0", "", "zero"),
        ("ultralow", "", "ultralow"),
        ("0-1+", "", "zero/ultralow/low"),
        ("1+", "", "low"),
        ("", "Negative", "zero/ultralow/low"),
        ("2+", "", "low/positive"),
        ("", "", "unknown"),
    ],
)
def test_a_fourth_category_is_configuration(ihc: str, overall: str, expected: str) -> None:
    assert reading(ihc, "", overall, ULTRALOW) == expected


def test_an_assay_that_does_not_separate_ultralow() -> None:
    legacy = ULTRALOW.counting("0", "zero", "ultralow")
    assert reading("0", scheme=legacy) == "zero/ultralow"


def test_two_categories_need_no_scores() -> None:
    negative = ("negative",)
    scheme = Scheme(("negative", "positive"), tuple((s, negative) for s in "012"))
    assert reading("0-1+", "", "", scheme) == "negative"
    assert reading("2+", "", "", scheme) == "unknown"
    assert reading("", "", "Negative", scheme) == "negative"


def test_extremes_of_a_range_are_schemes() -> None:
    assert reading("0-1+", scheme=PAPERS.counting("0-1", "zero")) == "zero"
    assert reading("0-1+", scheme=PAPERS.counting("0-1", "low")) == "low"
    # the negative verdict without a score is no "0-1+" and stays a set
    assert reading("", "", "Negative", PAPERS.counting("0-1", "zero")) == "zero/low"


def test_contradictions_are_kept_and_marked() -> None:
    assert classify(("2",), "positive", "negative").contradictory
    assert classify(("3",), "", "negative").contradictory
    assert not classify(("2",), "negative", "negative").contradictory


@given(
    st.sampled_from(["", "0", "1", "2", "3", "0-1+", "1-2+", "2-3+", "0-2+"]),
    st.sampled_from(["", "positive", "negative"]),
    st.sampled_from(["", "positive", "negative"]),
    st.sampled_from([PAPERS, ULTRALOW]),
)
def test_more_knowledge_never_widens_a_reading(
    ihc: str, ish: str, overall: str, scheme: Scheme
) -> None:
    known = reading_classes(reading(ihc, ish, overall, scheme), scheme.categories)
    assert known <= set(scheme.categories)
    assert known
    if "positive" not in (ish, overall):
        without = reading_classes(reading(ihc, "", "", scheme), scheme.categories)
        assert known <= without
    assert reading_classes(reading_name(known, scheme.categories), scheme.categories) == known
