"""The estimand grammar: it prints what it parses, and says what it cannot read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import FITTED_BY, KINDS, Contrast, Estimand, cells_of, not_answered, parse

CANONICAL = [
    "share[her2=low | hr_status=positive]",
    "share_difference[her2=low ; hr_status: positive vs negative]",
    "transition[zero -> low | relapse_type=LRR]",
    "discordance[]",
    "discordance[| hr_status=positive]",
    "hazard_ratio[bcss ; her2: positive vs low]",
    "survival[bcss | her2=zero @ 24 months]",
    "association[her2 ; hr_status]",
    "hazard_ratio[bcss | hr_status=negative, relapse_type=DM ; her2: low vs zero @ 12.5 months]",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_form_prints_back(text):
    assert str(parse(text)) == text


def test_spaces_and_order_of_conditions_do_not_matter():
    loose = parse(" share[ her2=low|site=bone ,  age=<=50 ]")
    assert loose == parse("share[her2=low | age=<=50, site=bone]")


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
levels = st.text(st.sampled_from("abcXYZ019<>=+-/% .µ"), min_size=1, max_size=9).map(
    lambda text: " ".join(text.split()) or "x"
)
contrast_levels = levels.filter(lambda text: " vs " not in f" {text} " and ":" not in text)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    outcome=st.one_of(st.just(""), names, st.builds("{}={}".format, names, levels)),
    given_levels=st.dictionaries(names, levels, max_size=3),
    contrast=st.none()
    | st.builds(Contrast, names, contrast_levels, contrast_levels)
    | st.builds(Contrast, names),
    time=st.none() | st.sampled_from([1.0, 12.0, 24.5, 120.0]),
)
def test_every_estimand_prints_and_parses_back(kind, outcome, given_levels, contrast, time):
    unit = "months" if time else ""
    estimand = Estimand(kind, outcome, tuple(given_levels.items()), contrast, time, unit)
    assert parse(str(estimand)) == estimand
    assert str(parse(str(estimand))) == str(estimand)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("share", "not an estimand"),
        ("sahre[her2=low]", "unknown kind 'sahre'"),
        ("share[her2=low | hr_status]", "factor=level"),
        ("share[her2=low | a=1, a=2]", "twice"),
        ("hazard_ratio[bcss ; her2: a b]", "a vs b"),
        ("survival[bcss @ soon]", "number unit"),
        ("share[her2=low | =x]", "factor=level"),
        ("share[her2=low | hr_status=]", "factor=level"),
    ],
)
def test_faults_say_what_does_not_fit(text, message):
    with pytest.raises(BadInput, match=message):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        estimand = parse(text)
    except BadInput:
        return
    assert parse(str(estimand)) == estimand


def test_where_adds_conditions():
    assert str(parse("discordance[]").where(hr_status="positive")) == CANONICAL[4]


def test_faults_are_raised_together_and_say_place_and_remedy():
    faults = [
        Fault(
            "not a number", file="a.csv", row=3, column="value", value="x", remedy="write a number"
        ),
        Fault("duplicate id", file="a.csv", row=4),
    ]
    with pytest.raises(BadInput) as caught:
        raise_if(faults)
    assert str(caught.value).splitlines() == [
        "a.csv, row 3, column 'value': not a number (found 'x'); remedy: write a number",
        "a.csv, row 4: duplicate id",
    ]
    raise_if([])


def test_what_is_asked_of_the_wrong_family_names_the_right_one():
    asked = parse("hazard_ratio[os ; her2: positive vs low]")
    text = str(not_answered(asked, "distribution", ["share[her2=low]"]))
    assert "asked of fit_distribution" in text
    assert "hazard_ratio is answered by fit_survival, reconstruct" in text
    nearest = str(not_answered(parse("share[her2=lo]"), "distribution", ["share[her2=low]"]))
    assert "did you mean 'share[her2=low]'?" in nearest


def test_families_of_kinds_are_rooms_and_public_functions():
    families = {family for kind in KINDS.values() for family in kind.families}
    assert families == set(FITTED_BY)
    with pytest.raises(BadInput, match="did you mean 'hazard_ratio'"):
        parse("hazard_ration[os]")


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("zero->low", ["zero->low"]),
        ("zero->low+low->zero + diagonal", ["zero->low", "low->zero", "diagonal"]),
        ("IHC0->IHC1+", ["IHC0->IHC1+"]),
        ("2+/ISH-->1+", ["2+/ISH-->1+"]),
        ("0->1+ + 0->2+ + *->3+", ["0->1+", "0->2+", "*->3+"]),
        ("off_diagonal", ["off_diagonal"]),
        ("nonsense+zero", ["nonsense+zero"]),
    ],
)
def test_cells_that_are_added_up(text, cells):
    assert cells_of(text) == cells
