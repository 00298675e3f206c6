"""reconstruction.toml is checked with the other files, by the lists of the reconstruction."""

from __future__ import annotations

import shutil
from dataclasses import fields

import pytest

from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.constraints import read_summary
from her2bayes.cohorts.interpretations import DEFAULTS, check_readings, reported
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, skeleton_folder
from her2bayes.evidence.printed.tables import CHAINS, READINGS
from her2bayes.evidence.printed.tables import RECONSTRUCTION as FILE


def test_the_lists_are_those_of_the_reconstruction():
    assert list(READINGS) == list(DEFAULTS)
    assert set(CHAINS) == {field.name for field in fields(Settings)} - {"seed"}
    for axis, values in READINGS.items():
        for value in values:
            check_readings({**DEFAULTS, axis: value})
        if values:
            with pytest.raises(BadInput) as bad:
                check_readings({**DEFAULTS, axis: "nothing"})
            assert bad.value.faults[0].allowed == ", ".join(values)


def test_the_skeleton_has_its_survival_in_a_report():
    study = load_study(skeleton_folder())
    assert reported(study) == ["os"]
    assert read_summary(study, "os").last == 72.0


@pytest.mark.parametrize(
    ("text", "column", "more"),
    [
        ('reported = ["pfs"]', "reported", "os"),
        ('report = ["os"]', "report", "'reported'"),
        ("longest = -3", "longest", "above 0"),
        ('[readings]\ncox = "both"', "readings.cox", "joint, pairwise"),
        ('[readings]\nfollowup = "reverse"', "readings.followup", "'follow_up'"),
        ("[chains]\nsweep = 3", "chains.sweep", "'sweeps'"),
        ('[[implied]]\nclaim = "x"\nendpoint = "os"\nrelation = "="\nwhy = "y"', "implied.claim",
         "ids of estimates.csv"),
        ('[[better]]\nestimand = "survival_difference[os ; sex]"\nlevel = "a"', "better.estimand",
         "unknown factor"),
        ("reported = [", None, "not a TOML file"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path, text, column, more):
    folder = tmp_path / "study"
    shutil.copytree(skeleton_folder(), folder)
    (folder / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as bad:
        load_study(folder)
    (fault,) = bad.value.faults
    assert (fault.file, fault.column) == (folder / FILE, column)
    assert more in str(fault)
