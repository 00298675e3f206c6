"""Every reader with a good input to damage, and what must hold of whatever it accepts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.evidence.printed.study import load_study, published_folder, skeleton_folder

Read = Callable[[Path], None]


@dataclass(frozen=True)
class Door:
    """A reader: ``fill`` puts a good input into a folder, ``read`` reads it and checks the answer.

    ``weight`` is its share of the runs: cheap readers get more.
    """

    name: str
    fill: Callable[[Path], None]
    read: Read
    weight: float = 1.0


def _files(**texts: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")

    return fill


def _copied(source: Path) -> Callable[[Path], None]:
    return lambda folder: shutil.copytree(source, folder, dirs_exist_ok=True) and None


# ---------------------------------------------------------------- a paper


def read_study(folder: Path) -> None:
    from her2bayes.audit.audit import audit
    from her2bayes.estimand import parse

    study = load_study(folder)
    assert all(str(parse(text)) == text for text in study.ledger["estimand"])
    assert study.ledger["claim_id"].is_unique
    for table in study.status_counts().values():
        assert (table >= 0).all()
        assert int(table.sum()) < 10**12
    for frame, part in ((study.responses, "count"), (study.adverse_events, "count")):
        assert (frame[part] >= 0).all()
        assert (frame[part] <= frame["patients"]).all()
    assert not np.isinf(study.ledger["value_number"].to_numpy(float)).any()
    audit(study)


# ---------------------------------------------------------------- patients

MAP = """\
schema = 1
id = "example"
title = "Invented cohort"
rows = "patient"
missing = ["NA"]

[files]
table = "patients.csv"

[columns]
patient_id = "patient"

[primary]
ihc = "primary_ihc"
ish = "primary_ish"
er = "primary_er"

[recurrence]
ihc = "recurrence_ihc"
ish = "recurrence_ish"

[keep]
arm = ["a", "b"]

[factors.age]
column = "age"
cut = [50]
labels = ["<=50", ">50"]

[factors.arm]
column = "arm"
values = { a = "old", b = "new" }

[endpoints.os]
time = "os_months"
event = "os_event"
unit = "months"
events = ["1"]
censored = ["0"]

[rules]
choose = "earliest"
hr_threshold = 1
"""
PATIENTS = (
    "patient,primary_ihc,primary_ish,primary_er,recurrence_ihc,recurrence_ish,age,arm,os_months,"
    "os_event\n"
    "p1,0,,positive,1+,,44,a,10.5,1\np2,2+,negative,negative,3+,,61,b,30,0\n"
    "p3,1+,,positive,2+,positive,50,a,7,1\np4,3+,,negative,0,,71,b,44.25,0\n"
    "p5,0-1+,,positive,,,39,a,12,1\np6,2+,,NA,1+,,58,b,3,0\n"
)


def _cohort_files(folder: Path) -> None:
    (folder / "patients.csv").write_text(PATIENTS, encoding="utf-8")
    (folder / "map.toml").write_text(MAP, encoding="utf-8")


def read_cohort_folder(folder: Path) -> None:
    from her2bayes.evidence.patients.cohort import read_cohort
    from her2bayes.evidence.patients.maps import load_map

    cohort = read_cohort(load_map(folder / "map.toml"), folder)
    patients = cohort.patients
    assert patients["patient_id"].is_unique
    for name in cohort.endpoints:
        months = patients[f"{name}_months"].dropna()
        assert np.isfinite(months).all()
        assert (months >= 0).all()
        assert set(patients[f"{name}_event"].dropna()) <= {0, 1}
    for name, levels in cohort.factors.items():
        assert set(patients[name]) <= {"", *levels}


def _parquet_cohort(folder: Path) -> None:
    _cohort_files(folder)
    frame = pd.read_csv(folder / "patients.csv", dtype=str, keep_default_na=False)
    (folder / "patients.csv").unlink()
    frame.to_parquet(folder / "patients.parquet", index=False)
    text = MAP.replace("patients.csv", "patients.parquet")
    (folder / "map.toml").write_text(text, encoding="utf-8")


FOLLOW_UP = (
    "patient,months,start,event,her2,why\na,10,0,1,low,cancer\nb,20.5,1,0,zero,\n"
    "c,3,0,1,zero,other\nd,44,2,0,low,\ne,60,0,1,low,cancer\n"
)


def _follow_up_csv(folder: Path) -> None:
    (folder / "rows.csv").write_text(FOLLOW_UP, encoding="utf-8")


def _follow_up_parquet(folder: Path) -> None:
    from io import StringIO

    pd.read_csv(StringIO(FOLLOW_UP)).to_parquet(folder / "rows.parquet", index=False)


def read_rows_over_time(folder: Path) -> None:
    from her2bayes.evidence.patients.follow_up import read_follow_up
    from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells

    found = read_follow_up(
        next(folder.iterdir()), time="months", event="event", entry="start", cause="why",
        by={"her2": None},
    )  # fmt: skip
    assert 0 <= found.events <= found.rows
    assert 0 < found.last_time <= 600
    cells = survival_cells(found, cut_points(found, intervals=3))
    assert int(cells["events"].sum()) == found.events
    assert (cells["person_months"] >= 0).all()
    assert np.isfinite(cells["person_months"]).all()


# ---------------------------------------------------------------- curves

CURVE = "time,survival\n0,1\n5,0.9\n10,0.7\n20,0.45\n30,0.4\n"
RISK = "arm,time,n_at_risk\nold,0,50\nold,10,33\nold,20,20\nnew,0,48\nnew,10,40\nnew,20,30\n"
PLOT = "old,,new,\nX,Y,X,Y\n0,1,0,1\n5,0.9,6,0.95\n10,0.7,12,0.9\n20,0.45,25,0.8\n"
WIDE = "time,old,new\n0,1,1\n5,0.9,0.95\n10,0.7,0.9\n20,0.45,0.8\n"
RISK_WIDE = "time,old,new\n0,50,48\n10,33,40\n20,20,30\n"


def _read_curves(folder: Path, arms: dict[str, str]) -> None:
    from her2bayes.evidence.patients.digitised import clean_curve, read_digitised

    found = read_digitised({a: folder / n for a, n in arms.items()}, folder / "risk.csv", {})
    for arm in found.values():
        assert np.isfinite(arm.time).all()
        assert np.isfinite(arm.survival).all()
        assert (arm.time >= 0).all()
        assert (np.diff(arm.at_risk) <= 0).all()
        assert 0 <= arm.at_risk[0] < 10**7
        clean_curve(arm.time, arm.survival)


def read_arms(folder: Path) -> None:
    _read_curves(folder, {"old": "old.csv", "new": "new.csv"})


def read_together(folder: Path) -> None:
    _read_curves(folder, {"": "all.csv"})


# ---------------------------------------------------------------- statements and grids

CONCLUSIONS = (
    "conclusion_id,conclusion,locator,note\nc1,share[her2=low] > 0.4,Abstract,\n"
    "c2,hazard_ratio[os ; her2: positive vs low] < 1,Results,why\nc3,median[os] > 12,Table 2,\n"
)
GRID = """\
cross = [["spread of levels", "prior patients"]]

[axes]
"spread of levels" = [0.5, 2.0]
"prior patients" = [1, 50]
model = ["ordered"]
"""


def read_statements(folder: Path) -> None:
    from her2bayes.evidence.printed.tables import load_conclusions, vocabulary

    words = vocabulary({"her2": ("zero", "low", "positive")}, ("os",))
    for found in load_conclusions(folder / "mine.csv", words):
        assert np.isfinite(found.number)
        assert found.relation in "<>"


def read_choices(folder: Path) -> None:
    from her2bayes.sensitivity.target import Axis, crossed, one_at_a_time, read_grid

    axes = (
        Axis("spread of levels", "prior", 1.0, (0.5, 2.0)),
        Axis("prior patients", "prior", 3.0, (1.0, 16.0)),
        Axis("model", "structure", "plain", ("ordered", "dirichlet")),
    )
    grid = read_grid(folder / "grid.toml", axes)
    wanted = grid.applied(axes)
    for axis in wanted:
        assert all(not isinstance(v, float) or np.isfinite(v) for v in axis.values)
    assert one_at_a_time(wanted)
    for names in grid.cross:
        assert crossed(wanted, names)


# ---------------------------------------------------------------- tables of counts

RESPONSES = (
    "response,factor,level,responders,patients\norr,,,20,64\norr,ihc,1+,9,30\norr,ihc,2+,11,34\n"
    "dcr,,,51,64\n"
)
EXTERNAL = "response,study,responders,patients\norr,DAISY,24,72\norr,DB-04,195,373\n"
EVENTS = (
    "event,body_system,severity,count,patients\nany,,any,60,64\nany,,grade 3-4,15,64\n"
    "nausea,gut,any,20,64\nnausea,gut,grade 3-4,3,64\nfever,body,any,9,64\n"
)
LANDMARKS = (
    "study,start,stop,patients,survivors,her2\nregistry,24,36,200,150,\nregistry,36,48,150,120,\n"
    "other,24,48,100,60,low\n"
)


def read_responses(folder: Path) -> None:
    from her2bayes.evidence.printed.count_tables import read_response_table

    for table in read_response_table(folder / "t.csv").values():
        assert (table["responders"] >= 0).all()
        assert (table["responders"] <= table["patients"]).all()


COUNTS = (
    "factor,level,her2,n\n,,zero,10\n,,low,20\n,,positive,5\nstage,I,zero,4\nstage,I,low,15\n"
    "stage,II,zero,6\nstage,II,positive,5\nstage,II,zero/low,2\n"
)
CELLS = (
    "hr;stage;her2;n\npositive;I;zero;4\npositive;I;low;15\nnegative;I;positive;5\n"
    "negative;II;unknown;7\n"
)
STATUS = "id,her2,stage,hr\n1,zero,I,positive\n2,low,II,\n3,zero/low,I,negative\n4,,II,positive\n"


def read_status_counts(folder: Path) -> None:
    from her2bayes.evidence.patients.counts import read_counts

    for table in read_counts(folder / "t.csv").tables.values():
        assert (table["counts"] >= 0).all()
        assert int(table["counts"].sum()) == table.attrs["patients"]
        assert table["incidence"].any("her2").all()


def read_status(folder: Path) -> None:
    from her2bayes.evidence.patients.aggregate import status_counts

    found = status_counts(folder / "t.csv", ["stage", "hr"])
    assert int(found["counts"].sum()) == found.attrs["patients"] <= 5
    assert found["incidence"].any("her2").all()


def read_outside(folder: Path) -> None:
    from her2bayes.evidence.printed.count_tables import read_external_table

    for rows in read_external_table(folder / "t.csv").values():
        assert all(0 <= part <= of and of > 0 for _, part, of in rows)


def read_events(folder: Path) -> None:
    from her2bayes.evidence.printed.adverse_events import read_adverse_events
    from her2bayes.evidence.printed.count_tables import read_event_table
    from her2bayes.rates import events

    rows = read_event_table(folder / "t.csv")
    assert (rows["count"] >= 0).all()
    assert (rows["count"] <= rows["patients"]).all()
    if len(set(rows["arm"])) > 1:
        events.read(rows, folder / "t.csv")
        return
    counts = read_adverse_events(rows, folder / "t.csv").counts
    assert (counts["severe"] <= counts["any"]).all()


def read_known_survival(folder: Path) -> None:
    from io import StringIO

    from her2bayes.evidence.patients.external_survival import landmark_counts, read_landmarks
    from her2bayes.evidence.patients.follow_up import read_follow_up
    from her2bayes.evidence.patients.survival_cells import survival_cells

    table = read_landmarks(folder / "t.csv")
    if "cells" not in _kept:
        rows = pd.read_csv(StringIO(FOLLOW_UP))
        found = read_follow_up(rows, time="months", event="event", by={"her2": None})
        _kept["cells"] = survival_cells(found, np.array([0.0, 12.0, 60.0]))
    counts = landmark_counts(table, _kept["cells"])
    assert (counts["survivors"] >= 0).all()
    assert (counts["survivors"] <= counts["patients"]).all()
    assert np.isfinite(counts["months_to_stop"]).all()


_kept: dict[str, object] = {}

# ---------------------------------------------------------------- records of our own

PROVENANCE = """\
{"schema": 1, "runs": {"audit": {"arguments": ["--study", "ni2025"], "outputs": {"--out": "x"},
"place": "ni2025", "inputs": {}, "seed": null, "quick": null, "environment": {},
"files": {"evidence.csv": ""}}}}
"""


def read_record(folder: Path) -> None:
    from her2bayes.reproduce import replay

    (folder / "evidence.csv").touch()
    _, runs = replay.entries(folder)
    replay.check(folder, runs, {})


DOORS = (
    Door("study skeleton", _copied(skeleton_folder()), read_study, 0.8),
    Door("study shi2023", _copied(published_folder() / "shi2023"), read_study, 0.15),
    Door("study ni2025", _copied(published_folder() / "ni2025"), read_study, 0.15),
    Door("cohort and map", _cohort_files, read_cohort_folder, 1.5),
    Door("cohort as Parquet", _parquet_cohort, read_cohort_folder),
    Door("follow-up", _follow_up_csv, read_rows_over_time, 0.3),
    Door("follow-up as Parquet", _follow_up_parquet, read_rows_over_time, 0.2),
    Door(
        "curves, a file an arm", _files(old__csv=CURVE, new__csv=CURVE, risk__csv=RISK), read_arms
    ),
    Door("curves, WebPlotDigitizer", _files(all__csv=PLOT, risk__csv=RISK), read_together),
    Door("curves, a column an arm", _files(all__csv=WIDE, risk__csv=RISK_WIDE), read_together),
    Door("conclusions", _files(mine__csv=CONCLUSIONS), read_statements, 2),
    Door("grid", _files(grid__toml=GRID), read_choices, 3),
    Door("responses", _files(t__csv=RESPONSES), read_responses, 2),
    Door("external responses", _files(t__csv=EXTERNAL), read_outside, 2),
    Door("counts of HER2 status", _files(t__csv=COUNTS), read_status_counts, 2),
    Door("crossed counts", _files(t__csv=CELLS), read_status_counts, 2),
    Door("HER2 status of patients", _files(t__csv=STATUS), read_status, 0.5),
    Door("adverse events", _files(t__csv=EVENTS), read_events, 2),
    Door("landmarks", _files(t__csv=LANDMARKS), read_known_survival),
    Door("provenance", _files(provenance__json=PROVENANCE), read_record, 2),
)
