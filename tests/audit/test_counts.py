"""Count algebra: what an estimand is in sets of patients."""

import shutil

import pytest

from her2bayes.audit.audit import audit
from her2bayes.audit.space import EVERYONE, NotACount, both, box, plainest, ratio, space_of
from her2bayes.estimand import parse
from her2bayes.evidence.printed.study import load_study, published_folder


@pytest.fixture
def space(make, printed):
    return space_of(make([printed.count("n", "count[]", 100)]), [parse("transition[zero -> low]")])


def test_share_and_its_group(space):
    found = ratio(parse("share[her2=low | sex=women]"), space)
    assert found.numerator == box(("her2", {"low"}), ("sex", {"women"}))
    assert found.denominators[0] == box(("sex", {"women"}))


def test_count_with_conditions_only_is_the_group(space):
    assert ratio(parse("count[| sex=men]"), space).numerator == box(("sex", {"men"}))
    assert ratio(parse("count[sex=men]"), space).numerator == box(("sex", {"men"}))


def test_transition_is_a_share_of_its_primary_class(space):
    found = ratio(parse("transition[zero -> low]"), space)
    assert found.numerator == box(("her2", {"low"}), ("her2_primary", {"zero"}))
    assert found.denominators == (box(("her2_primary", {"zero"})),)


def test_discordance_has_six_cells(space):
    assert len(ratio(parse("discordance[]"), space).numerator) == 6


def test_gain_is_of_everyone(space):
    found = ratio(parse("gain[low]"), space)
    assert len(found.numerator) == 2
    assert found.denominators == (EVERYONE,)


def test_a_nested_level_names_its_parent_too(space):
    both_names = both(box(("site", {"liver"})), box(("kind", {"distant"})))
    assert plainest(both_names, space) == box(("site", {"liver"}))


def test_all_pairs_of_classes_are_everyone(space):
    assert plainest(space.pairs(lambda _a, _b: True), space) == EVERYONE
    margin = space.pairs(lambda a, _b: a == "zero")
    assert plainest(margin, space) == box(("her2_primary", {"zero"}))


def test_share_of_a_factor_with_unknowns_may_be_of_the_known(space):
    found = ratio(parse("share[age=>50]"), space)
    assert found.denominators == (EVERYONE, box(("age", {"≤50", ">50"})))


def test_response_group(space):
    assert ratio(parse("response_rate[orr]"), space).numerator == box(
        ("best_response", {"CR", "PR"})
    )


def test_other_units_are_no_count_of_patients(space):
    with pytest.raises(NotACount, match="samples"):
        ratio(parse("count[samples]"), space)


def test_pairs_that_part_of_the_patients_have(tmp_path):
    """Pairs are of those whose primary is known; without an unknown level they are of all."""
    shutil.copytree(published_folder() / "mtnbc127", tmp_path / "part")
    assert audit(load_study(tmp_path / "part")).findings.empty
    design = tmp_path / "part" / "study.toml"
    design.write_text(design.read_text("utf-8").replace('unknown = ["not read"]', ""), "utf-8")
    (sentence,) = audit(load_study(tmp_path / "part")).findings["sentence"]
    assert "127" in sentence
    assert "350" in sentence
