"""Sensitivity of own data: the axes that cells have, what a scenario changes, what it means."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from her2bayes.distribution import sensitivity
from her2bayes.distribution.cells import split
from her2bayes.distribution.draws import Crossed
from her2bayes.estimand import parse
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.sensitivity.target import BASE, Scenario, Target, one_at_a_time

HER2 = ["zero", "low", "positive"]
READINGS = [*HER2, "zero/low", "unknown"]
HOLDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=bool)
TWO = {"hr_status": ["positive", "negative"], "stage": ["I", "II", "III"]}


def cells(levels: dict[str, list[str]], counts: np.ndarray) -> xr.Dataset:
    """Cells of all combinations of levels, each with the same counts."""
    rows = list(itertools.product(*levels.values()))
    table = np.broadcast_to(counts, (len(rows), len(READINGS))).astype(np.int64)
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), table), "incidence": (("reading", "her2"), HOLDS)},
        coords={
            "subgroup": [", ".join(row) for row in rows],
            "reading": READINGS,
            "her2": HER2,
            **{f: ("subgroup", [row[k] for row in rows]) for k, f in enumerate(levels)},
        },
        attrs={"factors": list(levels)},
    )


TABLE = Crossed(
    cells({**TWO, "centre": ["A", "B", "C"]}, np.array([[10, 20, 5, 6, 4]])), ("centre",)
)
AXES = sensitivity.crossed_axes(TABLE)


def changed(**axes: object) -> Crossed:
    return sensitivity.scenario_table(TABLE, Scenario(tuple((k, v) for k, v in axes.items())))  # type: ignore[misc]


def test_axes_are_those_that_the_cells_have() -> None:
    names = [axis.name for axis in AXES]
    assert names == [
        sensitivity.OVERALL, sensitivity.SPREAD, "zero counted as low", "low counted as positive",
        sensitivity.SETS, sensitivity.UNKNOWN, sensitivity.OUT, sensitivity.PAIRS,
    ]  # fmt: skip
    plain = Crossed(cells({"hr_status": ["a", "b"]}, np.array([[3, 4, 5, 0, 0]])))
    assert [a.name for a in sensitivity.crossed_axes(plain)] == names[:4]


def test_the_reported_analysis_has_the_same_patients() -> None:
    same = sensitivity.scenario_table(TABLE, BASE)
    for name in ("exact", "partial", "unknown"):
        np.testing.assert_array_equal(split(same.cells)[name], split(TABLE.cells)[name])
    assert same.interactions


@pytest.mark.parametrize(
    ("axis", "value", "exact", "partial", "unknown"),
    [
        (sensitivity.SETS, "left out", [10, 20, 5], 0, 4),
        (sensitivity.SETS, "lowest class", [16, 20, 5], 0, 4),
        (sensitivity.SETS, "highest class", [10, 26, 5], 0, 4),
        (sensitivity.UNKNOWN, "all positive", [10, 20, 9], 6, 0),
        ("zero counted as low", 0.2, [8, 22, 5], 6, 4),
        ("low counted as positive", -0.2, [10, 21, 4], 6, 4),
    ],
)
def test_a_scenario_counts_otherwise(
    axis: str, value: object, exact: list[int], partial: int, unknown: int
) -> None:
    found = split(changed(**{axis: value}).cells)
    assert found["exact"].values[0].tolist() == exact
    assert int(found["partial"].values[0].sum()) == partial
    assert int(found["unknown"].values[0]) == unknown


def test_a_level_is_left_out_and_pairs_are() -> None:
    out = changed(**{sensitivity.OUT: "stage=II"})
    assert out.levels["stage"] == ["I", "III"]
    assert not changed(**{sensitivity.PAIRS: "without"}).interactions


@pytest.mark.slow
def test_every_scenario_is_a_model_whose_draws_answer() -> None:
    from her2bayes.inference.densities import prior_draws
    from her2bayes.inference.structure import compiler_flags

    asked = "share_difference[her2=low ; hr_status: positive vs negative]"
    conclusion = Conclusion(id="one", estimand=parse(asked), relation=">", number=0.0)
    target = Target("distribution", "own", (conclusion,), AXES, {"table": TABLE})
    scenarios = one_at_a_time(AXES)
    for of in [BASE, scenarios[1], next(s for s in scenarios if sensitivity.PAIRS in str(s))]:
        spec = sensitivity.specification(target, of)
        with compiler_flags():
            drawn, _ = prior_draws(spec.model(), 1)
        (answer,) = sensitivity.quantities(target, of, drawn).values()
        assert answer.dims == ("chain", "draw")
        moved = spec.transport(drawn, spec)  # type: ignore[misc]
        np.testing.assert_allclose(moved["raw"], drawn["raw"])


def test_half_of_a_level_left_out_is_no_answer() -> None:
    stage = parse("share_difference[her2=low ; stage: I vs II]")
    target = Target("distribution", "own", (), AXES, {"table": TABLE})
    of = Scenario(((sensitivity.OUT, "stage=II"),))
    assert "stage=II" in sensitivity.apart(target, of, stage)
    assert not sensitivity.apart(target, BASE, stage)
