"""StatusCells: what is exact, what is a set, how factors become contrasts, what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from her2bayes.distribution import cells as tables
from her2bayes.errors import BadInput

HER2 = ["zero", "low", "positive"]
READINGS = [*HER2, "zero/low", "unknown"]
HOLDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=bool)


def cells(levels: dict[str, list[str]], counts: np.ndarray | int = 5) -> xr.Dataset:
    """Cells of all combinations of levels."""
    rows = list(itertools.product(*levels.values()))
    table = np.broadcast_to(counts, (len(rows), len(READINGS))).astype(np.int64)
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), table), "incidence": (("reading", "her2"), HOLDS)},
        coords={
            "subgroup": [", ".join(row) or "all" for row in rows],
            "reading": READINGS,
            "her2": HER2,
            **{f: ("subgroup", [row[k] for row in rows]) for k, f in enumerate(levels)},
        },
        attrs={"factors": list(levels)},
    )


TWO = {"hr_status": ["positive", "negative"], "stage": ["I", "II", "III"]}


def test_readings_are_exact_sets_or_unknown() -> None:
    counts = np.arange(30).reshape(6, 5)
    found = tables.split(cells(TWO, counts))
    np.testing.assert_array_equal(found["exact"], counts[:, :3])
    np.testing.assert_array_equal(found["partial"].sel(set="zero/low"), counts[:, 3])
    np.testing.assert_array_equal(found["unknown"], counts[:, 4])
    assert found["holds"].sel(set="zero/low").values.tolist() == [True, True, False]


def test_terms_are_factors_and_pairs_of_those_that_are_no_sample_of_groups() -> None:
    three = cells({**TWO, "centre": ["A", "B", "C", "D"]})
    names = [(t.name, t.kind, t.size) for t in tables.terms(three, ["centre"])]
    assert names == [
        ("hr_status", "main", 1), ("stage", "main", 2), ("centre", "exchangeable", 3),
        ("hr_status x stage", "interaction", 2),
    ]  # fmt: skip
    without = tables.terms(three, ["centre"], interactions=False)
    assert [t.name for t in without] == ["hr_status", "stage", "centre"]


def test_contrasts_are_orthonormal_and_sum_to_zero_over_each_factor() -> None:
    one = cells(TWO)
    for term in tables.terms(one):
        at = {f: [str(v) for v in one[f].values] for f in term.factors}
        columns = term.columns(at)
        repeats = 6 / np.prod([len(TWO[f]) for f in term.factors])
        np.testing.assert_allclose(columns.T @ columns, repeats * np.eye(term.size), atol=1e-12)
        for factor in term.factors:
            others = [f for f in term.factors if f != factor]
            for key in set(zip(*(at[f] for f in others), strict=True)) or {()}:
                rows = [k for k in range(6) if tuple(at[f][k] for f in others) == key]
                np.testing.assert_allclose(columns[rows].sum(axis=0), 0, atol=1e-12)


def test_design_marks_what_is_learned_and_what_the_mean_of_groups_keeps() -> None:
    data = tables.design(cells({**TWO, "centre": ["A", "B"]}), ["centre"])
    real = [not name.startswith("(no data)") for name in data["effect"].values.astype(str)]
    learned = data["learned"].values[real].tolist()
    assert learned == [0, 1, 1, 1, 1, 1]  # two receptor levels cannot teach a spread
    assert data["interacts"].values[real].tolist() == [0, 0, 0, 0, 1, 1]
    assert data["mean_share"].values.tolist() == [0, 0, 0.5, 0]
    assert data.sizes["subgroup"] == 16
    assert data["exact"].values[12:].sum() == 0


def test_cost_does_not_depend_on_the_number_of_patients() -> None:
    few, many = (tables.design(cells(TWO, n)) for n in (5, 50_000))
    assert few.sizes == many.sizes


def test_marginal_tables_hold_readings_of_one_class_and_say_what_is_left_out() -> None:
    found = tables.one_level(cells(TWO), "stage")
    assert found["level"].values.tolist() == ["I", "II", "III"]
    assert found.values.tolist() == [[10, 10, 10]] * 3
    assert found.attrs == {"partial": 30, "unknown": 30, "ordered": False}
    assert tables.one_level(cells(TWO), "").values.tolist() == [[30, 30, 30]]


def test_levels_stand_in_the_order_given() -> None:
    one = cells({"grade": ["3", "1", "2"]}).assign_attrs(levels={"grade": ["1", "2", "3"]})
    assert tables.levels_of(one, "grade") == ["1", "2", "3"]
    assert tables.levels_of(cells({"grade": ["3", "1", "2"]}), "grade") == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.drop_vars("incidence"), "not StatusCells"),
        (lambda c: c.assign(counts=-c["counts"]), "whole numbers"),
        (lambda c: c.assign(incidence=c["incidence"] & False), "holds no class"),
        (lambda c: xr.concat([c, c], "subgroup", data_vars="minimal"), "twice"),
    ],
)
def test_what_are_no_cells_is_refused(change, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        tables.design(change(cells(TWO)))


def test_unknown_groups_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="did you mean 'stage'"):
        tables.design(cells(TWO), ["stages"])
    with pytest.raises(BadInput, match="two groups or more"):
        tables.design(cells({"centre": ["A"]}), ["centre"])


def test_a_table_of_one_factor_has_that_of_all_patients_beside_it() -> None:
    coords = {"subgroup": ["A", "B"], "her2": HER2}
    by_centre = xr.DataArray([[30, 20, 10], [12, 14, 9]], coords, ("subgroup", "her2"))
    found = tables.with_whole({"centre": by_centre})
    assert found[""].sel(subgroup="all").values.tolist() == [42, 34, 19]
    other = by_centre + 1  # counts other patients: no table of all is made
    assert "" not in tables.with_whole({"centre": by_centre, "stage": other})
