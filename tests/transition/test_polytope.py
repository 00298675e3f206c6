"""The set of tables: enumeration against brute force, bounds against members, contradictions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.transition.facts import TableSet, table_set
from her2bayes.transition.polytope import (
    TooManyTablesError,
    cell_bounds,
    conflict,
    enumerate_tables,
    extreme_table,
    grouped_cells,
    one_table,
    row_bounds,
    share_bounds,
)
from her2bayes.transition.table_sampler import lattice_basis, short_moves

HER2 = ("zero", "low", "positive")


def random_set(rng: np.random.Generator, strata: int, k: int, total: int) -> TableSet:
    """Facts that a random table satisfies: its size, some sums of cells, some of them bounds."""
    cells = strata * k * k
    table = rng.multinomial(total, np.full(cells, 1 / cells))
    form = np.vstack([np.ones(cells, int), rng.integers(0, 2, (rng.integers(1, 4), cells))])
    value = form @ table
    slack = np.where(rng.random(len(value)) < 0.3, 1, 0) * (np.arange(len(value)) > 0)
    return TableSet(
        tuple((("s", str(n)),) for n in range(strata)),
        tuple(str(n) for n in range(k)),
        form.reshape(-1, strata, k, k),
        np.maximum(value - slack, 0),
        value + slack,
        tuple(str(n) for n in range(len(value))),
    )


def brute_force(tables: TableSet, total: int) -> np.ndarray:
    """All tables of the given size that satisfy the facts, by trying every one."""
    cells = int(np.prod(tables.shape))
    tried = np.array([t for t in product(range(total + 1), repeat=cells) if sum(t) == total])
    tried = tried.reshape(-1, *tables.shape)
    return tried[tables.holds(tried)]


@pytest.mark.parametrize("seed", range(12))
def test_enumeration_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strata, k, total = [(1, 2, 9), (2, 2, 4), (1, 3, 3)][seed % 3]
    tables = random_set(rng, strata, k, total)
    found = enumerate_tables(tables)
    expected = brute_force(tables, total)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(enumerate_tables(tables, tight=False), expected)
    low, high = cell_bounds(tables)
    np.testing.assert_array_equal(low, expected.min(axis=0))
    np.testing.assert_array_equal(high, expected.max(axis=0))
    rows = expected.sum(axis=-1)
    np.testing.assert_array_equal(row_bounds(tables), (rows.min(axis=0), rows.max(axis=0)))


@pytest.mark.parametrize("seed", range(6))
def test_share_bounds_are_those_of_the_members(seed: int) -> None:
    tables = random_set(np.random.default_rng(seed), 1, 2, 9)
    members = enumerate_tables(tables)
    low, high = share_bounds(tables)
    row = members.sum(axis=-1, keepdims=True)
    full = (row > 0).all(axis=0)[..., 0]
    assert np.isnan(low[~full]).all()
    share = members[:, full] / row[:, full]
    np.testing.assert_allclose(low[full], share.min(axis=0), atol=1e-12)
    np.testing.assert_allclose(high[full], share.max(axis=0), atol=1e-12)


@pytest.fixture(scope="module")
def shi() -> dict[str, TableSet]:
    facts = load_study(study_folder("shi2023")).transition_facts
    return {
        "all": table_set(facts, HER2, (), "abstract"),
        "results": table_set(facts, HER2, (), "results"),
        "hr_status": table_set(facts, HER2, ["hr_status"], "abstract"),
    }


def test_shi_has_nine_tables_and_an_impossible_reading(shi: dict[str, TableSet]) -> None:
    nine = enumerate_tables(shi["all"])
    np.testing.assert_array_equal(nine[:, 0, 0, 0], range(18, 27))
    assert shi["all"].holds(nine).all()
    assert conflict(shi["all"]) == ()
    assert one_table(shi["results"]) is None
    assert enumerate_tables(shi["results"]).shape == (0, 1, 3, 3)
    # 20 + 83 + 19 = 122, the printed margin of low at recurrence is 127
    assert set(conflict(shi["results"])) == {
        "all.recurrence.low",
        "all.low_low",
        "all.positive_low",
        "all.zero_low.results",
    }


def test_bounds_refuse_facts_that_contradict(shi: dict[str, TableSet]) -> None:
    with pytest.raises(ValueError, match="no table"):
        cell_bounds(shi["results"])
    with pytest.raises(ValueError, match="no table"):
        extreme_table(shi["results"], np.random.default_rng(0))


def test_too_many_tables_are_refused(shi: dict[str, TableSet]) -> None:
    with pytest.raises(TooManyTablesError, match="1000"):
        enumerate_tables(shi["hr_status"], 1000)


def test_corners_belong_to_the_set(shi: dict[str, TableSet], rng: np.random.Generator) -> None:
    corners = np.stack([extreme_table(shi["hr_status"], rng) for _ in range(10)])
    assert shi["hr_status"].holds(corners).all()
    assert len(np.unique(corners, axis=0)) > 3
    np.testing.assert_array_equal(
        corners.sum(axis=1), enumerate_tables(shi["all"])[corners[:, :, 0, 0].sum(1) - 18, 0]
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_difference_of_members_is_an_integer_combination_of_the_basis(seed: int) -> None:
    tables = random_set(np.random.default_rng(seed + 40), 2, 2, 5)
    members = enumerate_tables(tables).reshape(-1, 8)
    basis = lattice_basis(tables)
    equal = tables.matrix[tables.lower == tables.upper]
    assert (equal @ basis.T == 0).all()
    difference = members - members[0]
    weight, *_ = np.linalg.lstsq(basis.T.astype(float), difference.T.astype(float), rcond=None)
    np.testing.assert_allclose(weight, np.rint(weight), atol=1e-8)
    np.testing.assert_allclose(basis.T @ np.rint(weight), difference.T, atol=1e-8)
    assert (equal @ short_moves(basis).T == 0).all()


def test_cells_that_no_fact_tells_apart_form_groups(shi: dict[str, TableSet]) -> None:
    assert len(grouped_cells(shi["all"])) == 9
    facts = load_study(study_folder("shi2023")).transition_facts
    alone = facts[facts["level"] == "negative"]
    member = grouped_cells(table_set(alone, HER2, ["hr_status"]))
    assert len(member) == 6  # on and off the diagonal in each column
    assert member.sum() == 9
