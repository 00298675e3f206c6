"""Files of digitised curves and of numbers at risk, as the usual programs write them.

Curves: one file an arm (time, survival, with or without a header); a column ``arm``; a column of
survival for each arm; Guyot's and survHE's ``ID Time Surv``; WebPlotDigitizer's export of several
data sets (arm names over pairs of X and Y). Numbers at risk: ``arm, time, n_at_risk``; ``time`` and
a column for each arm; ``Interval t.risk lower upper n.risk``; ``trisk nrisk``; ``77 (1)``, the
patients at risk and in brackets those censored so far, or these in a column ``n_censored``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from her2bayes.errors import Fault, suggestion
from her2bayes.evidence.read_table import SHOWN, TextTable, read_records, read_table, text_table

ARM, TIME, SURVIVAL, AT_RISK, CENSORED = "arm", "time", "survival", "n_at_risk", "n_censored"
# names of columns without signs and capitals, by what they hold
_WORDS = {
    ARM: {"arm", "group", "treatment", "trt", "treat", "strata", "stratum"},
    TIME: {"time", "t", "x", "trisk", "timerisk", "times", "months", "days", "weeks", "years"}
    | {"timemonths", "timedays", "timeweeks", "timeyears", "timeinmonths", "tk"},
    SURVIVAL: {"survival", "surv", "sur", "s", "y", "st", "sk", "km", "survivalprobability"}
    | {"probability", "estimate"},
    AT_RISK: {
        "natrisk",
        "nrisk",
        "atrisk",
        "numberatrisk",
        "noatrisk",
        "risk",
        "n",
        "numbersatrisk",
    },
    CENSORED: {"ncensored", "censored", "numbercensored", "nocensored", "censoredsofar", "ncens"},
}
_COUNTERS = {"id", "index", "interval", "point", "row", "no", "nr", "k", "i", "column1"}
_BRACKETS = re.compile(r"(\d+)\s*[(\[]\s*(\d+)\s*[)\]]")


def _role(name: str) -> str:
    bare = re.sub(r"[^a-z0-9]", "", name.casefold())
    return next((role for role, words in _WORDS.items() if bare in words), "")


def _counts_rows(name: str) -> bool:
    return re.sub(r"[^a-z0-9]", "", name.casefold()) in _COUNTERS


def curve_file(
    source: Path | TextTable, arm: str, faults: list[Fault], notes: list[str]
) -> dict[str, pd.DataFrame]:
    """Points by arm: frames of time and survival as written; ``arm`` names a file of one curve."""
    if isinstance(source, TextTable):
        table = source
    else:
        wide = _webplotdigitizer(source, faults)
        if wide is not None:
            return wide
        table = read_table(source, headless=True)
    path = table.path
    _say(table, notes)
    if table.headless:
        return _without_header(table, arm, faults)
    faults += table.asked([name for name, _ in table.twice])
    names = [str(name) for name in table.frame.columns]
    roles = {name: _role(name) for name in names}
    if ARM in roles.values():
        return _long(table, roles, SURVIVAL, faults, notes)
    counters = [name for name in names if len(names) > 2 and _counts_rows(name)]
    names = [name for name in names if name not in counters]
    if len(names) < 2:
        faults.append(Fault("a curve needs a column of times and one of survival", file=path))
        return {}
    time_name = next((name for name in names if roles[name] == TIME), names[0])
    values = [name for name in names if name != time_name]
    heights = [name for name in values if roles[name] == SURVIVAL] if len(values) > 1 else values
    if len(heights) > 1:
        faults.append(Fault("several columns of survival", file=path, value=", ".join(heights),
                            remedy="keep one, or name each by its arm"))  # fmt: skip
    _unused(path, counters + [name for name in values if heights and name not in heights], notes)
    time = _numbers(table, time_name, faults)
    if heights:
        name = heights[0]
        named = arm or (path.stem if roles[name] == SURVIVAL else name)
        return {named: _frame(table, time, name, SURVIVAL, faults)}
    return {name: _frame(table, time, name, SURVIVAL, faults, empty=True) for name in values}


def _without_header(table: TextTable, arm: str, faults: list[Fault]) -> dict[str, pd.DataFrame]:
    names = list(table.frame.columns)
    if len(names) != 2:
        problem = f"{len(names)} columns of numbers without a header"
        remedy = "write a header line: time, survival; or time and the arms"
        faults.append(Fault(problem, file=table.path, row=table.row(0), remedy=remedy))
        return {}
    time = _numbers(table, names[0], faults)
    return {arm or table.path.stem: _frame(table, time, names[1], SURVIVAL, faults)}


def _frame(
    table: TextTable,
    time: np.ndarray,
    column: str,
    kind: str,
    faults: list[Fault],
    *,
    empty: bool = False,
) -> pd.DataFrame:
    """Times and values of one column; with ``empty``, cells without a value are left out."""
    value = _numbers(table, column, faults, empty=empty)
    kept = ~np.isnan(value) if empty else np.ones(value.size, bool)
    frame = pd.DataFrame({TIME: time[kept], kind: value[kept]})
    frame.attrs["file"] = table.path
    return frame


def _long(
    table: TextTable,
    roles: dict[str, str],
    kind: str,
    faults: list[Fault],
    notes: list[str],
) -> dict[str, pd.DataFrame]:
    """Frames by the values of the column of arms."""
    chosen = {role: name for name, role in reversed(roles.items()) if role}
    missing = [role for role in (TIME, kind) if role not in chosen]
    if missing:
        faults.extend(
            Fault(
                f"column '{role}' is missing",
                file=table.path,
                row=table.header_row,
                allowed=", ".join((ARM, TIME, kind)),
                remedy=f"rename the column ({suggestion(role, list(roles))})",
            )
            for role in missing
        )
        return {}
    used = [ARM, TIME, kind, *([CENSORED] if kind == AT_RISK and CENSORED in chosen else [])]
    _unused(table.path, [name for name in roles if name not in [chosen[r] for r in used]], notes)
    table = _split_brackets(table, chosen, kind, notes)
    columns = {role: _numbers(table, chosen[role], faults) for role in (TIME, kind)}
    if kind == AT_RISK and CENSORED in chosen:
        columns[CENSORED] = _numbers(table, chosen[CENSORED], faults)
    arms = table.frame[chosen[ARM]].to_numpy()
    result = {}
    for arm in dict.fromkeys(arms):
        frame = pd.DataFrame({name: values[arms == arm] for name, values in columns.items()})
        frame.attrs["file"] = table.path
        result[str(arm)] = frame
    return result


def risk_file(
    source: Path | TextTable, faults: list[Fault], notes: list[str]
) -> dict[str, pd.DataFrame]:
    """Numbers at risk by arm: time, n_at_risk and, where given, n_censored (so far).

    A table of one arm that does not name it stands under "".
    """
    table = text_table(source)
    _say(table, notes)
    faults += table.asked([name for name, _ in table.twice])
    names = [str(name) for name in table.frame.columns]
    roles = {name: _role(name) for name in names}
    if ARM in roles.values():
        return _long(table, roles, AT_RISK, faults, notes)
    chosen = {role: name for name, role in reversed(roles.items()) if role}
    if {TIME, AT_RISK} <= set(chosen):
        frame = table.columns.append_column(ARM, pa.array([""] * len(table.frame), pa.string()))
        one = TextTable(frame, table.path, table.rows, table.digest, table.header_row)
        return _long(one, {**roles, ARM: ARM}, AT_RISK, faults, notes)
    time = _numbers(table, names[0], faults)
    result = {}
    for name in names[1:]:
        split = _split_brackets(table, {AT_RISK: name}, AT_RISK, notes)
        frame = _frame(split, time, name, AT_RISK, faults, empty=True)
        if CENSORED in split.frame:
            frame[CENSORED] = _frame(split, time, CENSORED, CENSORED, faults, empty=True)[CENSORED]
        result[name] = frame
    return result


def _split_brackets(
    table: TextTable, chosen: dict[str, str], kind: str, notes: list[str]
) -> TextTable:
    """``77 (1)`` as 77 at risk and 1 censored so far, where every cell of the column has it."""
    name = chosen.get(kind, "")
    if kind != AT_RISK or CENSORED in chosen:
        return table
    cells = table.columns[name].to_pylist()
    pairs = [_BRACKETS.fullmatch(cell) for cell in cells]
    if not any(pairs) or not all(pair or not cell for pair, cell in zip(pairs, cells, strict=True)):
        return table
    chosen[CENSORED] = CENSORED
    columns = table.columns
    if CENSORED in columns.column_names:
        columns = columns.drop_columns([CENSORED])
    at_risk = pa.array([pair[1] if pair else "" for pair in pairs], pa.string())
    censored = pa.array([pair[2] if pair else "" for pair in pairs], pa.string())
    columns = columns.set_column(columns.column_names.index(name), name, at_risk)
    notes.append(f"{table.path.name}: numbers in brackets are patients censored so far")
    return TextTable(
        columns.append_column(CENSORED, censored), table.path, table.rows, table.digest
    )


def _say(table: TextTable, notes: list[str]) -> None:
    notes += [f"{table.path.name}: {note}" for note in table.notes]


def _unused(path: Path, names: Sequence[str], notes: list[str]) -> None:
    if names:
        notes.append(f"{path.name}: not used: column {', '.join(names)}")


def _numbers(table: TextTable, column: str, faults: list[Fault], empty: bool = False) -> np.ndarray:
    table, wrong_commas = table.with_decimal_points([column])
    if wrong_commas:
        faults += wrong_commas
        return np.full(len(table.rows), np.nan)
    text = table.frame[column]
    values = pd.to_numeric(text, errors="coerce")
    wrong = values.isna() | ~np.isfinite(values)
    wrong &= (text != "") if empty else True
    positions = np.flatnonzero(wrong)
    faults += [
        Fault(
            "not a number" if text.iloc[p] else "cell is empty",
            file=table.path,
            row=table.row(int(p)),
            column=column,
            value=text.iloc[p] or None,
            allowed="digits, with a decimal point or comma",
            remedy="correct the cell, or take the row out",
        )
        for p in positions[:SHOWN]
    ]
    if positions.size > SHOWN:
        faults.append(
            Fault(f"{positions.size - SHOWN} more cells are not numbers", table.path, column=column)
        )
    return values.to_numpy(float)


def _webplotdigitizer(path: Path, faults: list[Fault]) -> dict[str, pd.DataFrame] | None:
    """Data sets of a WebPlotDigitizer export: names over every second column, then X, Y, X, Y."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return None
    rows, width = read_records(path)
    if len(rows) < 2 or [c.upper() for c in rows[1][1][:2]] != ["X", "Y"]:
        return None
    lines = np.array([line for line, _ in rows[2:]], int)
    padded = [cells + [""] * (width - len(cells)) for _, cells in rows]
    result: dict[str, pd.DataFrame] = {}
    for place in range(0, width - 1, 2):
        arm = padded[0][place] or f"arm {place // 2 + 1}"
        if arm in result:
            faults.append(Fault(f"arm '{arm}' is given twice", file=path, row=rows[0][0]))
        filled = [k for k, cells in enumerate(padded[2:], 2) if any(cells[place : place + 2])]
        pair = {
            f"{arm}, {sign}": pa.array([padded[k][place + j] for k in filled], pa.string())
            for j, sign in enumerate("XY")
        }
        table = TextTable(pa.table(pair), path, lines[[k - 2 for k in filled]], "")
        time = _numbers(table, f"{arm}, X", faults)
        result[arm] = _frame(table, time, f"{arm}, Y", SURVIVAL, faults)
    return result
