"""Words on a prior are those of the prior in use."""

from __future__ import annotations

import numpy as np
import pytest

from her2bayes.bayes.prior import complete
from her2bayes.page.fit_card import meanings, parsed, row_words
from her2bayes.transition import her2_transition_dirichlet as model
from her2bayes.transition.paper import row_priors

DEFAULT = model.DEFAULT_PRIORS


@pytest.mark.parametrize(
    ("title", "worth", "unchanged", "middle"),
    [  # R 4.2.2: qbeta(0.5, 1.8, 1.2), qbeta(0.5, 1, 2), qbeta(0.5, 0.5, 1)
        ("Dirichlet, 3 patients, 60 % unchanged", "3", "60", 0.6246),
        ("Dirichlet(1, ..., 1)", "3", "33", 0.2929),
        ("Dirichlet(1/2, ..., 1/2)", "1.5", "33", 0.25),
    ],
)
def test_rows_are_described_by_their_own_prior(
    title: str, worth: str, unchanged: str, middle: float, rng: np.random.Generator
) -> None:
    used = complete(dict(row_priors(3)[title].priors), model.DEFAULT_PRIORS)
    words = meanings({n: str(v) for n, v in used.items()}, DEFAULT, {})["transition"]
    assert (
        f"prior effective sample size {worth} patients per row, {unchanged} % of them unchanged"
        in words
    )
    assert f"median {100 * middle:.0f} %" in words
    a = model.concentration(used, 3)[0]
    share = rng.dirichlet(a, 200_000)[:, 0]
    assert np.median(share) == pytest.approx(middle, abs=0.006)
    low, high = (100 * np.quantile(share, p) for p in (0.025, 0.975))
    printed = words.partition("(")[2].strip(")").split(" to ")
    assert [float(x) for x in printed] == pytest.approx([low, high], abs=0.8)


def test_words_beside_a_default_hold_for_the_default_only() -> None:
    used = {"primary_share": "Dirichlet(a=1.0)"}
    assert meanings(used, DEFAULT, {}) == {
        "primary_share": "primary classes: any composition alike"
    }
    other = {"primary_share": "Dirichlet(a=0.5)"}
    assert meanings(other, DEFAULT, {}) == {
        "primary_share": "in place of the model's default Dirichlet(a=1.0)"
    }
    assert meanings(other, DEFAULT, {"primary_share": "few classes"}) == {
        "primary_share": "few classes"
    }


def test_printed_priors_are_read_back() -> None:
    for value in model.DEFAULT_PRIORS.values():
        assert parsed(str(value)) == value
    assert parsed("Normal(mu=(1.0, 2.0))") is None
    assert parsed("nothing") is None
    assert "prior effective sample size 3 patients" in row_words(3.0, 0.6)
