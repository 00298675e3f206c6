"""Priors are frozen values and an unknown name is an error."""

import pytest

from her2bayes.bayes.prior import complete, prior
from her2bayes.errors import BadInput

DEFAULT = {"alpha": prior("Normal", mu=0.0, sigma=1.5), "tau": prior("HalfNormal", sigma=0.5)}


def test_prior_prints_compares_and_hashes_by_value():
    assert str(DEFAULT["alpha"]) == "Normal(mu=0.0, sigma=1.5)"
    assert prior("Normal", sigma=1.5, mu=0.0) == DEFAULT["alpha"]
    assert len({prior("Normal", sigma=1.5, mu=0.0), DEFAULT["alpha"]}) == 1
    assert DEFAULT["alpha"]["sigma"] == 1.5


def test_scaled_changes_only_the_scale():
    assert DEFAULT["alpha"].scaled(2.0) == prior("Normal", mu=0.0, sigma=3.0)


def test_gaps_are_filled_and_unknown_names_refused():
    wide = prior("HalfNormal", sigma=1.0)
    assert complete({"tau": wide}, DEFAULT) == {"alpha": DEFAULT["alpha"], "tau": wide}
    assert complete(None, DEFAULT) == DEFAULT
    with pytest.raises(BadInput, match=r"'tua'.*allowed: alpha, tau"):
        complete({"tua": wide}, DEFAULT)


def test_another_family_is_refused_where_the_graph_fixes_it():
    other = {"tau": prior("HalfCauchy", beta=0.5), "alpha": prior("Normal", sigma=1.0)}
    assert complete(other, DEFAULT)["tau"] == other["tau"]
    with pytest.raises(BadInput, match="HalfNormal with sigma") as raised:
        complete(other, DEFAULT, same_family=True)
    assert len(raised.value.faults) == 2


def test_a_prior_that_is_no_distribution_is_refused_with_all_its_faults():
    given = {"alpha": prior("Normal", mu=float("nan"), sigma=-1.0)}
    with pytest.raises(BadInput, match="no distribution") as raised:
        complete(given, DEFAULT)
    assert [one.column for one in raised.value.faults] == ["mu", "sigma"]
    assert raised.value.faults[1].value == -1.0
    reads = {"reads": prior("Dirichlet", a=(17.0, 2.0, 0.2))}
    assert complete(reads, reads)
    with pytest.raises(BadInput, match="no distribution"):
        complete({"reads": prior("Dirichlet", a=(17.0, 0.0, 0.2))}, reads)
