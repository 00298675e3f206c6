"""Whatever is done to the files of a study, the loader answers with a study or with BadInput."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.printed.study import Study, load_study, skeleton_folder, study_folder

EXAMPLES = int(os.environ.get("HER2_EXAMPLES", "30"))
ORIGINALS = (skeleton_folder(), study_folder("shi2023"), study_folder("ni2025"))
ODD = """
0 -1 120 1e9 nan inf ٣ 5. .5 999999999999999999999999 < <0.05 2.50 % # = + " a->b x[ flow[]
share[her2=low] transition[->] count[|] diagonal significant p_value hazard_ratio zero unknown
"""
CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(ODD.split()),
    st.sampled_from(["", "\n", "share[ her2 = low | hr_status = positive ]", "median[age @ 2 m]"]),
)
quiet = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def outcome(folder: Path) -> Study | BadInput:
    """What the loader answers; every fault names what to do, every estimand is canonical."""
    try:
        study = load_study(folder)
    except BadInput as bad:
        return told(bad)
    assert all(str(parse(text)) == text for text in study.ledger["estimand"])
    assert study.ledger["claim_id"].is_unique
    study.status_counts()
    return study


def told(bad: BadInput) -> BadInput:
    assert bad.faults
    assert all(fault.remedy or fault.allowed for fault in bad.faults), str(bad)
    return bad


@pytest.fixture
def space():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def copy(original: Path, space: Path) -> Path:
    shutil.rmtree(space / "study", ignore_errors=True)
    return Path(shutil.copytree(original, space / "study"))


def some_file(data, folder: Path, pattern: str = "*") -> Path:
    return data.draw(st.sampled_from(sorted(folder.glob(pattern))))


def table(file: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))


def write(file: Path, rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    file.write_text(text.getvalue(), encoding="utf-8", newline="")


@quiet
@given(data=st.data())
def test_any_cells(space, data):
    folder = copy(data.draw(st.sampled_from(ORIGINALS)), space)
    file = some_file(data, folder, "*.csv")
    rows = table(file)
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.sampled_from(rows))
        if row:
            row[data.draw(st.integers(0, len(row) - 1))] = data.draw(CELLS)
    write(file, rows)
    outcome(folder)


@quiet
@given(data=st.data())
def test_dropped_doubled_and_swapped_columns_and_rows(space, data):
    folder = copy(data.draw(st.sampled_from(ORIGINALS)), space)
    file = some_file(data, folder, "*.csv")
    rows = [row for row in table(file) if not row[0].startswith("#")]
    one, two = (data.draw(st.integers(0, len(rows[0]) - 1)) for _ in range(2))
    how = data.draw(
        st.sampled_from(["drop", "double", "rename", "swap", "cut rows", "move header"])
    )
    if how == "drop":
        rows = [row[:one] + row[one + 1 :] for row in rows]
    elif how == "double":
        rows = [[*row, row[one]] for row in rows]
    elif how == "rename":
        rows[0][one] = data.draw(CELLS)
    elif how == "swap":
        for row in rows[1:]:
            row[one], row[two] = row[two], row[one]
    elif how == "cut rows":
        rows = rows[: 1 + data.draw(st.integers(0, 3))]
    else:
        rows = [*rows[1:], rows[0]]
    write(file, rows)
    found = outcome(folder)
    if how in ("drop", "double"):
        assert isinstance(found, BadInput)


@quiet
@given(data=st.data())
def test_junk_bytes(space, data):
    folder = copy(data.draw(st.sampled_from(ORIGINALS)), space)
    file = some_file(data, folder)
    raw = file.read_bytes()
    place = data.draw(st.integers(0, len(raw)))
    end = min(len(raw), place + data.draw(st.sampled_from([0, 0, 1, 5, 1000])))
    file.write_bytes(raw[:place] + data.draw(st.binary(max_size=8)) + raw[end:])
    outcome(folder)


@quiet
@given(data=st.data())
def test_any_file_content(space, data):
    folder = copy(skeleton_folder(), space)
    some_file(data, folder).write_bytes(data.draw(st.binary(max_size=60)))
    outcome(folder)


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["label", "levels", "her2", "unit"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@quiet
@given(data=st.data())
def test_any_value_in_the_design(space, data):
    """Replace the right side of one line of study.toml by a value of any kind."""
    folder = copy(data.draw(st.sampled_from(ORIGINALS)), space)
    file = folder / "study.toml"
    lines = file.read_text(encoding="utf-8").splitlines()
    entries = [n for n, line in enumerate(lines) if " = " in line and line[0] != "#"]
    place = data.draw(st.sampled_from(entries))
    lines[place] = f"{lines[place].partition(' = ')[0]} = {toml(data.draw(TOML))}"
    file.write_text("\n".join(lines), encoding="utf-8")
    outcome(folder)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(sign):08x}" for sign in value) + '"'
    return str(value)


@settings(quiet, max_examples=5)
@given(data=st.data())
def test_rows_in_any_order_are_the_same_evidence(space, data):
    folder = copy(study_folder("shi2023"), space)
    before = load_study(folder)
    file = folder / "estimates.csv"
    header, *rows = table(file)
    columns = data.draw(st.permutations(range(len(header))))
    rows = data.draw(st.permutations(rows))
    write(file, [[row[n] for n in columns] for row in [header, *rows]])
    after = load_study(folder).ledger.set_index("claim_id")
    assert (
        after.loc[before.ledger["claim_id"]]
        .reset_index()
        .equals(before.ledger[["claim_id", *after.columns]])
    )
