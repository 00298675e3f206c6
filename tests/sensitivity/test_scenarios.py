"""Scenarios: identity, plans, and grid files with all their faults."""

from __future__ import annotations

import pytest

from her2bayes.errors import BadInput
from her2bayes.sensitivity.target import (
    BASE,
    DATA,
    PRIOR,
    STRUCTURE,
    Axis,
    Grid,
    crossed,
    kinds,
    one_at_a_time,
    read_grid,
    scenario,
)

SCALE = Axis("prior scale", PRIOR, 1.0, (0.5, 2.0))
MOVED = Axis("moved", DATA, 0.0, (-0.1, 0.1))
MODEL = Axis("model", STRUCTURE, "first", ("second",))
AXES = (SCALE, MOVED, MODEL)


def test_a_scenario_is_what_changed_in_the_order_of_the_axes():
    one = scenario(AXES, {"model": "second", "prior scale": 2.0})
    other = scenario(AXES, {"prior scale": 2.0, "model": "second", "moved": 0.0})
    assert one == other
    assert one.id == other.id
    assert str(one) == "prior scale 2, model second"
    assert one.canonical == '[["prior scale", 2.0], ["model", "second"]]'
    assert kinds(AXES, one) == ("prior", "structure")
    assert (one.get("prior scale", 1.0), one.get("moved", 0.0)) == (2.0, 0.0)
    assert scenario(AXES, {"prior scale": 1.0}) == BASE
    assert str(BASE) == "as reported"


def test_plans():
    alone = one_at_a_time(AXES)
    assert alone[0] == BASE
    assert len(alone) == 6
    both = crossed(AXES, ("moved", "prior scale"))
    assert len(both) == 9
    assert str(both[0]) == "prior scale 0.5, moved -0.1"
    assert BASE in both
    assert len({s.id for s in [*alone, *both]}) == 10


def test_a_grid_replaces_values(tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        'cross = [["prior scale", "moved"]]\n[axes]\n"prior scale" = [0.1, 1, 10]\n'
        'model = ["first"]\n'
    )
    grid = read_grid(file, AXES)
    axes = grid.applied(AXES)
    assert axes[0].values == (0.1, 10.0)
    assert axes[1] == MOVED
    assert axes[2].values == ()
    assert grid.cross == (("prior scale", "moved"),)


def test_faults_of_a_grid_come_together(tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        'colour = 1\ncross = [["prior scal"]]\n[axes]\nmodel = ["third"]\nmoved = ["a"]\n'
        "spread = [1]\n"
    )
    with pytest.raises(BadInput) as caught:
        read_grid(file, AXES)
    text = str(caught.value)
    for part in ("unknown entry", "did you mean 'prior scale'", "no such value", "not a number"):
        assert part in text
    assert "prior scale, moved, model" in text
    file.write_text("[axes\n")
    with pytest.raises(BadInput, match="cannot be read"):
        read_grid(file, AXES)
    assert Grid({}).applied(AXES) == AXES
