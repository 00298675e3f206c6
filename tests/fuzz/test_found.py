"""What the fuzzer found once stays mended: each input by hand, and the message it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from her2bayes.errors import BadInput

from .doors import DOORS

DOOR = {door.name: door for door in DOORS}


def refused(name: str, folder: Path, file: str, old: str, new: str) -> str:
    """Read a good input with one change; the message."""
    DOOR[name].fill(folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInput) as bad:
        DOOR[name].read(folder)
    return str(bad.value)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "told"),
    [
        ("landmarks", "t.csv", ",200,", ",many,", "row 2, column 'patients': not a number"),
        ("landmarks", "t.csv", ",24,36", ",,36", "row 2, column 'start': not a number"),
        ("landmarks", "t.csv", ",200,150", ",inf,150", "whole number from 0"),
        ("landmarks", "t.csv", ",200,150", ",200.5,150", "whole number from 0"),
        ("landmarks", "t.csv", "patients", "people", "there is no column 'patients'"),
        ("grid", "grid.toml", "[axes]", "[[axes]]", "not a table of axes"),
        ("grid", "grid.toml", '[["spread of levels", "prior patients"]]', "1", "axes to cross"),
        ("grid", "grid.toml", '[["spread of levels", "prior patients"]]', "[1]", "axes to cross"),
        ("grid", "grid.toml", '["ordered"]', '[["ordered"]]', "no such value"),
        ("grid", "grid.toml", "[1, 50]", "[1, nan]", "not a number"),
        ("grid", "grid.toml", "[1, 50]", f"[1, {'9' * 400}]", "not a number"),
        ("cohort and map", "map.toml", 'column = "age"\n', "", "'column' is missing"),
        ("cohort and map", "map.toml", 'time = "os_months"\n', "", "'time' is missing"),
        ("curves, WebPlotDigitizer", "all.csv", "20,0.45", "inf,0.45", "not a number"),
        ("curves, WebPlotDigitizer", "all.csv", "20,0.45,25,0.8", "20", "cell is empty"),
        ("curves, WebPlotDigitizer", "all.csv", "new", "old", "given twice"),
        ("curves, a file an arm", "risk.csv", "old,0,50", "old,0,1e308", "0 to 1000000"),
        ("follow-up", "rows.csv", "a,10,", "a,inf,", "not a number"),
        ("provenance", "provenance.json", '"runs"', '"run"', "no provenance.json that can be read"),
    ],
)  # fmt: skip
def test_is_told(name: str, file: str, old: str, new: str, told: str, tmp_path: Path) -> None:
    assert told in refused(name, tmp_path, file, old, new)


def test_damaged_pages_of_parquet_are_told(tmp_path: Path) -> None:
    DOOR["follow-up as Parquet"].fill(tmp_path)
    file = tmp_path / "rows.parquet"
    raw = file.read_bytes()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    file.write_bytes(raw[:4] + b"\xff" * (footer - 4) + raw[footer:])
    with pytest.raises(BadInput, match="cannot be read"):
        DOOR["follow-up as Parquet"].read(tmp_path)


def test_a_header_of_thousands_of_empty_names_is_told_briefly(tmp_path: Path) -> None:
    text = refused("curves, a column an arm", tmp_path, "all.csv", "time,old,new", "," * 5000)
    assert "3 columns of numbers without a header" in text
    assert len(text) < 5000
