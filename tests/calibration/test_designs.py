"""A calibration design from a file: what it says is simulated, and all its faults come together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from her2bayes.calibration.designs import fitting, kinds, read_design
from her2bayes.errors import BadInput

TRIAL = """
name = "my-trial"
factor = "centre"
[patients]
"A" = 40
"B" = 25
"C" = 12
[parent]
"A" = "north"
"B" = "north"
"C" = "south"
"""


def test_a_design_is_simulated(tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text(TRIAL, "utf-8")
    design = fitting(read_design(file, "her2_distribution"))
    made = kinds()["her2_distribution"].draw(np.random.default_rng(1), design)
    assert made.data.sum("her2").values.tolist() == [40, 25, 12]
    assert made.data["parent"].values.tolist() == ["north", "north", "south"]
    assert "tau[level]" not in made.truth  # one level within north is one effect: nothing to learn


def test_all_faults_together(tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text(
        'name = "../x"\nfactor = "My factor"\ncolour = 1\ngraded = ["rash"]\n'
        '[patients]\n"A" = -4\n"B" = 2.5\n[parent]\n"A" = "north"\n',
        "utf-8",
    )
    with pytest.raises(BadInput) as error:
        read_design(file, "her2_distribution")
    text = str(error.value)
    for part in ("'name'", "'factor'", "'colour'", "rash", "-4", "2.5", "'parent'"):
        assert part in text
    assert len(error.value.faults) == 7


@pytest.mark.parametrize("text", ["name = ", 'name = "a"', 'name = "a"\npatients = 3'])
def test_no_patients_or_no_toml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "design.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(BadInput, match=r"design\.toml"):
        read_design(file, "her2_distribution")


def test_adverse_events_need_body_systems(tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text('name = "a"\n[patients]\n"nausea" = 9\n', "utf-8")
    with pytest.raises(BadInput, match="body systems"):
        fitting(read_design(file, "adverse_events"))
