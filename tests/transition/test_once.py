"""What is known of a set of tables is worked out once, however many analyses ask it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import facts, table_fit
from her2bayes.transition.facts import TableSet, table_set
from her2bayes.transition.paper import TableAnalysis
from her2bayes.transition.polytope import cell_bounds, row_bounds
from her2bayes.transition.table_fit import DIRICHLET, fit_tables, row_priors

HER2 = ("zero", "low", "positive")


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Integer programs that reach the solver, by their costs."""
    count: Counter[bytes] = Counter()
    milp: Any = facts.milp

    def counted(cost: np.ndarray, **rest: Any) -> Any:
        count[cost.tobytes()] += 1
        return milp(cost, **rest)

    monkeypatch.setattr(facts, "milp", counted)
    facts._solved.cache_clear()
    table_fit._listed.cache_clear()
    return count


def shi(*by: str) -> TableSet:
    printed = load_study(study_folder("shi2023")).transition_facts
    return table_set(printed, HER2, by, "abstract")


def test_sets_of_one_content_are_equal_and_others_are_not() -> None:
    assert shi() == shi()
    assert hash(shi()) == hash(shi())
    assert shi() != replace(shi(), upper=shi().upper + 1)
    assert shi() != shi("hr_status")


def test_no_integer_program_is_solved_twice_in_a_study(solved: Counter[bytes]) -> None:
    """Row priors of one set of tables share its bounds, its list of tables, its labels' bounds."""
    priors = {name: one for name, one in row_priors(3).items() if one.rows == DIRICHLET}
    few = Sampling(draws=20, tune=10, chains=2)
    after = []
    for name, choice in priors.items():
        tables = shi()  # read anew, as each analysis may
        fitted = fit_tables(tables, dict(choice.priors), rows=DIRICHLET, sampling=few)
        labels = TableAnalysis((), name, tables, fitted, choice).labels
        assert len(labels) == 9
        after.append(sum(solved.values()))
    assert after[0] > 0
    assert set(after) == {after[0]}  # the first analysis asks, the others know
    assert max(solved.values()) == 1


def test_bounds_ask_fewer_programs_than_they_have_ends(solved: Counter[bytes]) -> None:
    """A member found for one cell that has none, or all, of another answers for that one too."""
    tables = shi("hr_status")
    low, high = cell_bounds(tables)
    assert sum(solved.values()) < 2 * low.size
    least, most = row_bounds(tables)
    assert (low >= 0).all()
    assert (low <= high).all()
    assert (least >= low.sum(axis=2)).all()
    assert (most <= high.sum(axis=2)).all()


def test_known_assays_share_one_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an analysis with assays of several accuracies the prior is drawn once."""
    from her2bayes.inference import densities
    from her2bayes.transition.assay_error import tipping

    drawn = []
    make = densities.prior_draws

    def counted(*given: Any, **named: Any) -> Any:
        drawn.append(1)
        return make(*given, **named)

    monkeypatch.setattr(densities, "prior_draws", counted)
    table_fit._rows_before.cache_clear()
    choice = next(iter(row_priors(3).values()))
    few = Sampling(draws=20, tune=10, chains=2)
    assert len(tipping(shi(), choice, few, None, scales=(0.5, 1.0, 2.0))) == 3
    assert len(drawn) == 1
