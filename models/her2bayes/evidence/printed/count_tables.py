"""A user's own tables of counts, files or data frames: responses, external ones, adverse events.

Every fault is told with file, row (as a spreadsheet counts), column, value and remedy, all of a
file together; nothing is repaired. A count may carry the percentage it is printed with, ``46
(71.9)``, which is checked; columns that are not used are named (``notes``).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import narwhals
import numpy as np
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import TABLE_PARTS
from her2bayes.evidence.printed.csv_rows import Row, Rows, check_cells, header_faults, read_rows
from her2bayes.evidence.printed.design import DESIGN
from her2bayes.evidence.printed.ledger import repeated
from her2bayes.evidence.printed.number import count, decimals, fits_percentage
from her2bayes.evidence.printed.schema import LEDGER, TABLES, Column
from her2bayes.evidence.printed.vocabulary import PRIMARY

if TYPE_CHECKING:
    import pandas as pd
    from narwhals.typing import IntoDataFrame

    Table = str | Path | IntoDataFrame
    """A file, or a data frame (pandas, Polars, Arrow)."""

RESPONSE = "response"
"""Name of the response where the table has no column of that name."""

_PATIENTS = Column("patients", "part", "patients in the group", True)
RESPONSE_COLUMNS = (
    Column("response", "name", "response counted, e.g. orr; optional"),
    Column("factor", "name", "characteristic that divides the patients; empty = all patients"),
    Column("level", "text", "level of that factor; empty = all patients"),
    Column("responders", "part", "patients with the response", True),
    _PATIENTS,
)
EXTERNAL_COLUMNS = (
    Column("response", "name", "response counted, e.g. orr; optional"),
    Column("study", "text", "name of the study", True),
    Column("responders", "part", "patients with the response", True),
    _PATIENTS,
)
EVENT_COLUMNS = (
    Column("arm", "text", "treatment arm, the control first; optional"),
    Column("event", "text", "adverse event; any = any event", True),
    Column("body_system", "text", "organ system it belongs to; optional"),
    Column("severity", "text", "any, or the grades: grade 3-4", True),
    Column("count", "part", "patients with the event", True),
    Column("patients", "part", "patients at risk", True),
)
_OPTIONAL = ("response", "arm", "body_system")
_RESERVED = set("[]|;@=,")


def read_response_table(source: Table) -> dict[tuple[str, str], xr.Dataset]:
    """ResponseCounts by (response, factor); raises ``BadInput`` with every fault."""
    path = place(source)
    read, faults = _read(source, RESPONSE_COLUMNS)
    faults += _counts(path, read.rows, "responders")
    faults += repeated(path, [_marked(row) for row in read.rows], ("response", "factor", "level"))
    for row in read.rows:
        faults += _group(path, row)
    raise_if(faults)
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in read.rows:
        tables.setdefault((row["response"] or RESPONSE, row["factor"]), []).append(row)
    raise_if(list(_total_faults(path, tables)))
    return {key: _dataset(key[1], rows) for key, rows in tables.items()}


def read_external_table(source: Table) -> dict[str, list[tuple[str, int, int]]]:
    """External studies by response: name, responders, patients; raises ``BadInput``.

    A table of medians is refused: a median alone has no weight.
    """
    path = place(source)
    read, faults = _read(source, EXTERNAL_COLUMNS)
    faults = [_explained(fault) for fault in faults]
    faults += _counts(path, read.rows, "responders")
    faults += [
        Fault("a study without patients", path, row.number, "patients", 0, "1 or more")
        for row in read.rows
        if _exact(row["patients"]) == 0
    ]
    raise_if(faults)
    found: dict[str, list[tuple[str, int, int]]] = {}
    for row in read.rows:
        study = (row["study"], _number(row["responders"]), _number(row["patients"]))
        found.setdefault(row["response"] or RESPONSE, []).append(study)
    return found


def read_event_table(source: Table) -> pd.DataFrame:
    """Rows of adverse events with ``row``, their line in the file; raises ``BadInput``."""
    import pandas as pd

    path = place(source)
    read, faults = _read(source, EVENT_COLUMNS)
    faults += _counts(path, read.rows, "count")
    marked = [Row(row.number, {**row.cells, "arm": row["arm"] or "-"}) for row in read.rows]
    faults += repeated(path, marked, ("arm", "event", "severity"))
    faults += [
        Fault("a name holds a sign the results need", path, row.number, column, row[column],
              "no [ ] | ; @ = ,", "write it with another sign")
        for row in read.rows for column in ("event", "severity") if _RESERVED & set(row[column])
    ]  # fmt: skip
    raise_if(faults)
    return pd.DataFrame(
        [
            {
                "row": row.number,
                **{name: row[name] for name in ("arm", "event", "body_system", "severity")},
                **{name: _number(row[name]) for name in ("count", "patients")},
            }
            for row in read.rows
        ]
    )


def place(source: Table) -> Path:
    """Path of a file; of a data frame the words that stand for it in messages."""
    return Path(source) if isinstance(source, str | Path) else Path("data frame")


def notes(source: Table) -> list[str]:
    """Say what of a readable table of counts is not used, and which percentages were checked."""
    known = {c.name: c for c in (*RESPONSE_COLUMNS, *EXTERNAL_COLUMNS, *EVENT_COLUMNS)}
    path, read = place(source), _rows(source, list(known))
    header = list(read.rows[0].cells) if read.rows else []
    unused = [name for name in header if name and name not in known]
    said = [f"{path.name}: column '{name}' is not used" for name in unused]
    checked = sum(
        bool(found.percent)
        for row in read.rows
        for name in header
        if name in known and known[name].kind == "part" and (found := count(row[name]))
    )
    if checked:
        said.append(f"{path.name}: {checked} percentages beside counts agree with the counts")
    return said


def _exact(cell: str) -> int | None:
    """Count of a cell; None where it is none, or a bound."""
    found = count(cell)
    return found.exact if found else None


def _rows(source: Table, columns: Sequence[str]) -> Rows:
    """Rows of a file, or of a data frame as a file would hold them: counts whole, gaps empty."""
    path = place(source)
    if isinstance(source, str | Path):
        return read_rows(path, columns)
    frame = narwhals.from_native(source, eager_only=True)
    header = [str(name) for name in frame.columns]
    rows = [
        Row(number, {name: _text(value) for name, value in zip(header, cells, strict=True)})
        for number, cells in enumerate(frame.iter_rows(), start=2)
    ]
    faults = header_faults(path, 1, header, columns)
    return Rows(path, tuple(rows), frozenset(header) & frozenset(columns), tuple(faults))


def _text(value: object) -> str:
    if value is None or value != value or type(value).__name__ == "NAType":
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _read(source: Table, columns: Sequence[Column]) -> tuple[Rows, list[Fault]]:
    path, read = place(source), _rows(source, [column.name for column in columns])
    faults = [fault for fault in read.faults if not _bearable(fault)]
    if not read.rows and not faults:
        faults.append(Fault("no rows below the header", path, remedy="write one row a group"))
    return read, [*faults, *check_cells(path, read.rows, columns, read.columns)]


def _bearable(fault: Fault) -> bool:
    """Tell whether a fault is of a column that may be missing, or that nobody asks for."""
    if fault.problem == "column is missing":
        return fault.column in _OPTIONAL
    meant = "did you mean" in (fault.remedy or "") or "median" in (fault.column or "")
    return fault.problem == "no such column" and not meant


def _counts(path: Path, rows: Sequence[Row], column: str) -> Iterator[Fault]:
    for row in rows:
        part, of = _exact(row[column]), _exact(row["patients"])
        for name, value in ((column, part), ("patients", of)):
            if value is not None and value < 0:
                yield Fault("a negative count", path, row.number, name, value, "0 or more")
        if part is not None and of is not None and part > of >= 0:
            problem = (
                f"more {column if column != 'count' else 'patients with the event'} than patients"
            )
            yield Fault(problem, path, row.number, column, part, f"0 to {of}",
                        "correct one of the two")  # fmt: skip


def _total_faults(path: Path, tables: Mapping[tuple[str, str], list[Row]]) -> Iterator[Fault]:
    """Faults of rows of all patients without any, and of levels that do not fit into them."""
    for (response, factor), rows in tables.items():
        whole = tables.get((response, ""))
        if whole is None:
            continue
        responders, patients = (whole[0][name] for name in ("responders", "patients"))
        everyone = _number(responders), _number(patients)
        if not factor and not everyone[1]:
            remedy = "leave the row out, or correct the number"
            yield Fault("no patients", path, whole[0].number, "patients", 0, "1 or more", remedy)
        if not factor:
            continue
        y, n = (sum(_number(row[name]) for row in rows) for name in ("responders", "patients"))
        left = everyone[0] - y, everyone[1] - n
        if not 0 <= left[0] <= left[1]:
            column = "patients" if left[1] < 0 else "responders"
            problem = (
                f"levels of '{factor}' do not fit into all patients (row {whole[0].number}): "
                f"{y} responders of {n} patients against {everyone[0]} of {everyone[1]}"
            )
            remedy = "correct a count; levels of one factor must not share patients"
            yield Fault(problem, path, rows[0].number, column, y if column != "patients" else n,
                        _fitting(everyone, n, column), remedy)  # fmt: skip


def _fitting(everyone: tuple[int, int], patients: int, column: str) -> str:
    """Sums over levels that fit into the row of all patients."""
    if column == "patients":
        return f"at most {everyone[1]}"
    least = max(0, everyone[0] - (everyone[1] - patients))
    return f"{least} to {everyone[0]}" if least < everyone[0] else str(least)


def _number(text: str) -> int:
    """Number of a cell that has been checked."""
    return _exact(text) or 0


def _marked(row: Row) -> Row:
    cells = {name: row[name] or "(all)" for name in ("response", "factor", "level")}
    return Row(row.number, cells)


def _group(path: Path, row: Row) -> Iterator[Fault]:
    if bool(row["factor"]) != bool(row["level"]):
        column = "level" if row["factor"] else "factor"
        remedy = "fill in both factor and level, or neither for all patients"
        yield Fault("half a group", path, row.number, column, None, None, remedy)
    if row["factor"] and not (row["factor"].replace("_", "a").isalnum() and row["factor"].islower()
                              and row["factor"][0].isalpha()):  # fmt: skip
        yield Fault("not a name of a factor", path, row.number, "factor", row["factor"],
                    "lower-case letters, digits and _, e.g. brain_metastases",
                    "rename it")  # fmt: skip
    if _RESERVED & set(row["level"]):
        yield Fault("a level holds a sign the results need", path, row.number, "level",
                    row["level"], "no [ ] | ; @ = ,", "write ≤60 for <=60")  # fmt: skip


def _explained(fault: Fault) -> Fault:
    if fault.column and "median" in fault.column and fault.problem == "no such column":
        problem = "a median carries no weight of its own: nothing says how precise it is"
        remedy = "give responders and patients; a median without events cannot be borrowed"
        return Fault(problem, fault.file, fault.row, fault.column, remedy=remedy)
    return fault


def _dataset(factor: str, rows: Sequence[Row]) -> xr.Dataset:
    levels = [row["level"] for row in rows]
    values = np.array(
        [[_number(row["responders"]), _number(row["patients"])] for row in rows], np.int64
    )
    return xr.Dataset(
        {"responders": ("subgroup", values[:, 0]), "patients": ("subgroup", values[:, 1])},
        coords={
            "subgroup": [level or "all" for level in levels],
            "factor": ("subgroup", [factor] * len(levels)),
            "level": ("subgroup", levels),
        },
    )


DISCORDANT = TABLE_PARTS[1]
_FIXED = ("factor", "level", "all", "p", "locator")
_NOT_KNOWN = re.compile(r"missing|unknown|not (known|available|reported)|n\.?/?a\.?", re.IGNORECASE)
NOT_GIVEN = "not given"
"""Level of patients whom the levels of a factor leave out."""

_SIGNS = {"<=": "≤", ">=": "≥", "=": ""}
_SPELT = {"≤": "le", "≥": "ge", "<": "lt", ">": "gt", "+": "pos"}


@dataclass(frozen=True)
class _Group:
    """A row of a Table 1: its place, and counts by HER2 class, ``all`` last where printed."""

    row: int
    factor: str
    level: str
    cells: dict[str, str]
    p: str
    locator: str

    @property
    def changes(self) -> bool:
        """Whether it counts pairs that changed, or did not, instead of a class of the primary."""
        return self.factor == PRIMARY and self.level in TABLE_PARTS

    def count(self, name: str) -> int | None:
        """Count of a class, where one is printed."""
        found = count(self.cells.get(name, ""))
        return found.exact if found else None

    def known(self, classes: Sequence[str]) -> int | None:
        """Patients of all classes, where all are printed."""
        counts = [self.count(name) for name in classes]
        return None if None in counts else sum(x for x in counts if x is not None)


@dataclass(frozen=True)
class TableOne:
    """HER2 classes by characteristics, as the first table of a paper prints them.

    ``labels`` are the factors' names as printed, by their plain names.
    """

    classes: tuple[str, ...]
    labels: dict[str, str]
    groups: tuple[_Group, ...]

    @classmethod
    def read(cls, file: Path, locator: str) -> TableOne:
        """Read columns ``factor`` and ``level`` and one for each class; ``BadInput``.

        Optional columns: ``all`` (all classes), ``p`` and ``locator`` (where the row is printed,
        else ``locator``). Rows without factor and level are all patients; an empty factor beside a
        level is that of the row above. The factor ``her2_primary`` makes a table of pairs: the
        class of the primary by that of the recurrence, and as levels ``off_diagonal`` and
        ``diagonal`` how many changed or did not, under ``all``.
        """
        read = read_rows(file, ("factor", "level"))
        unknown = [f for f in read.faults if f.problem != "no such column"]
        raise_if(unknown)
        header = [name for row in read.rows[:1] for name in row.cells]
        classes = tuple(name for name in header if name not in _FIXED)
        if not read.rows or len(classes) < 2:
            remedy = "head a column of counts with each class: factor,level,zero,low,positive"
            raise BadInput(Fault("no table of HER2 classes", file, remedy=remedy))
        faults = []
        for row in read.rows:
            if row["level"] in TABLE_PARTS and any(row[name] for name in classes):
                remedy = "write how many pairs changed, or did not, under all"
                problem = "pairs that changed have no one class"
                faults.append(Fault(problem, file, row.number, "level", row["level"],
                                    remedy=remedy))  # fmt: skip
            for name in (*classes, "all"):
                found = count(row[name])
                if row[name] and (found is None or found.exact is None):
                    remedy = "write 46 or 46 (71.9); leave the cell empty where it is neither"
                    shown = row[name]
                    faults.append(Fault("not a count", file, row.number, name, shown, None, remedy))
        raise_if(faults)
        labels, groups, above = {}, [], ""
        for row in read.rows:
            above = row["factor"] or (above if row["level"] else "")
            name, label = _named(above)
            labels.update({name: label} if name and name not in labels else {})
            cells = {key: row[key] for key in (*classes, "all") if row[key]}
            level, place = _level(row["level"]), row["locator"] or locator
            groups.append(_Group(row.number, name, level, cells, row["p"], place))
        return cls(classes, labels, tuple(groups))

    def files(self, name: str) -> dict[str, str]:
        """Texts of the files of a study: ``study.toml``, ``estimates.csv``, tables with rows."""
        tables = {
            "status_counts.csv": list(self._counts()),
            "transition_facts.csv": list(self._facts()),
            LEDGER: list(self._ledger()),
        }
        written = {file: _csv(file, rows) for file, rows in tables.items() if rows}
        return {DESIGN: self._design(name), **written}

    def _of(self, factor: str) -> list[_Group]:
        return [group for group in self.groups if group.factor == factor and not group.changes]

    @property
    def summed(self) -> str:
        """Label of the factor whose levels are added up for want of a row of all patients."""
        return "" if self._of("") else next(iter(self.labels.values()), "")

    @property
    def patients(self) -> int:
        """All patients: their own row, else the sum over the first factor."""
        first = self._of("") or self._of(next(iter(self.labels), ""))
        return sum(g.count("all") or g.known(self.classes) or 0 for g in first)

    def _design(self, name: str) -> str:
        told = f"  # the sum over {self.summed}: not printed, to be checked" if self.summed else ""
        lines = [
            "schema = 1", f"id = {_quoted(name)}", f"title = {_quoted(name)}", 'citation = ""',
            'doi = ""', 'licence = ""', 'design = ""', f"patients = {self.patients}{told}",
            "# setting, pairs, years, centres, assay, [methods], [headline]: data/README.md", "",
            "[factors.her2]", 'label = "HER2 status"', f"levels = {_listed(self.classes)}",
        ]  # fmt: skip
        for factor, label in self.labels.items():
            levels = [group.level for group in self._of(factor)]
            unknown = [level for level in levels if _NOT_KNOWN.fullmatch(level)]
            known = [level for level in levels if level not in unknown]
            if not unknown and self._leaves_some_out(factor):
                unknown = [NOT_GIVEN]
            lines += ["", f"[factors.{factor}]", f"label = {_quoted(label)}"]
            lines += [f"levels = {_listed(known)}"]
            lines += [f"unknown = {_listed(unknown)}"] if unknown else []
        return "\n".join(lines) + "\n"

    def _leaves_some_out(self, factor: str) -> bool:
        """Whether the levels of a factor add up to fewer patients than there are."""
        total = [_sum(name, self._of("")) or 0 for name in self.classes]
        found = [_sum(name, self._of(factor)) for name in self.classes]
        return any(part is not None and part < of for part, of in zip(found, total, strict=True))

    def _counts(self) -> Iterator[dict[str, object]]:
        """Cells of levels that are known and printed whole."""
        for group in self.groups:
            outside = _NOT_KNOWN.fullmatch(group.level) or group.factor == PRIMARY
            if group.known(self.classes) is None or outside:
                continue
            for name in self.classes:
                yield {
                    "factor": group.factor, "level": group.level, "her2": name,
                    "count": group.count(name), "locator": group.locator,
                }  # fmt: skip

    def _facts(self) -> Iterator[dict[str, object]]:
        """Pairs of classes, as far as they are printed: cells by the class of the primary."""
        for group in self.groups:
            known = group.factor == PRIMARY and not _NOT_KNOWN.fullmatch(group.level)
            for name in group.cells if known else ():
                claim = f"table1.{PRIMARY}.{_slug(group.level)}.{_slug(name)}"
                cells = f"{group.level}->{'*' if name == 'all' else name}"
                yield {
                    "fact_id": claim, "cells": group.level if group.changes else cells,
                    "relation": "=", "value": group.count(name), "locator": group.locator,
                    "claim_id": claim if self._is_stated(group, name) else "",
                }  # fmt: skip

    @staticmethod
    def _is_stated(group: _Group, name: str) -> bool:
        """Whether the ledger has words for a cell: of pairs that changed, for their share alone."""
        found = count(group.cells[name])
        return not group.changes or bool(group.level == DISCORDANT and found and found.percent)

    def _ledger(self) -> Iterator[dict[str, object]]:
        """One row for each printed cell and P value."""
        used: set[str] = set()
        across = self._across()
        for group in self.groups:
            place = ".".join(filter(None, ("table1", group.factor, _slug(group.level))))
            for name, cell in group.cells.items():
                if not self._is_stated(group, name):
                    continue
                claim = f"{place}.{_slug(name)}"
                while claim in used:
                    claim += "_"
                used.add(claim)
                given = {"claim_id": claim, "locator": group.locator, "text": cell}
                yield {**given, **self._cell(group, name, across)}
            if group.p and group.factor:
                yield {
                    "claim_id": f"{place}.p", "locator": group.locator, "text": group.p,
                    "estimand": f"association[her2 ; {group.factor}]", "statistic": "p_value",
                    "p_value": group.p,
                }  # fmt: skip

    def _cell(self, group: _Group, name: str, across: bool) -> dict[str, object]:
        found = count(group.cells[name])
        assert found is not None  # checked when it was read
        status = "" if name == "all" else f"her2={name}"
        level = f"{group.factor}={group.level}" if group.factor else ""
        if not found.percent or not (status or level):
            given = f" | {level}" if level else ""
            plain = {"statistic": "count", "value": found.exact, "unit": "patients"}
            return {**plain, "estimand": f"count[{status}{given}]".replace("[ |", "[|")}
        share = {
            "statistic": "percentage", "value": found.percent, "unit": "%",
            "decimals": decimals(found.percent), "numerator": found.exact,
        }  # fmt: skip
        if group.changes:
            pairs = _sum("all", self._of(PRIMARY)) or _sum("all", self._of(""))
            return {**share, "estimand": "discordance[]", "denominator": pairs or ""}
        along = (across and bool(status)) or not level
        outcome, given = (status, level) if along else (level, status)
        asked = f"share[{outcome} | {given}]" if given else f"share[{outcome}]"
        if along and group.factor == PRIMARY:
            asked = f"transition[{group.level} -> {name}]"
        return {**share, "estimand": asked, "denominator": self._denominator(group, name, along)}

    def _across(self) -> bool:
        """Whether percentages are of the row (of a group), not of the column (of a class)."""
        cells = [(g, name) for g in self.groups if g.factor for name in g.cells if name != "all"]
        fits = {
            along: sum(self._fits(g, name, self._denominator(g, name, along)) for g, name in cells)
            for along in (True, False)
        }
        return fits[True] >= fits[False]

    def _fits(self, group: _Group, name: str, of: int | None) -> bool:
        found = count(group.cells[name])
        if found is None or found.exact is None or not of:
            return False
        return fits_percentage(found.exact, of, found.percent)

    def _denominator(self, group: _Group, name: str, along: bool) -> int | None:
        """What a percentage is of: of the candidates the first that it fits, else the first."""
        if along:
            candidates = [group.known(self.classes), group.count("all")]
        else:
            column = self._of(group.factor)
            known = [g for g in column if not _NOT_KNOWN.fullmatch(g.level)]
            candidates = [_sum(name, known), _sum(name, column), _sum(name, self._of(""))]
        there = [of for of in candidates if of]
        first = there[0] if there else None
        return next((of for of in there if self._fits(group, name, of)), first)


def _sum(name: str, groups: Sequence[_Group]) -> int | None:
    counts = [group.count(name) for group in groups]
    return None if None in counts else sum(x for x in counts if x is not None)


def _level(printed: str) -> str:
    """Name of a level without the signs of the grammar: ``>=24`` is ``≥24``."""
    for sign, written in _SIGNS.items():
        printed = printed.replace(sign, written)
    return printed


def _named(printed: str) -> tuple[str, str]:
    """Plain name and label of a factor, ``hr_status: Hormone receptors`` or the label alone."""
    given = re.fullmatch(r"([a-z][a-z0-9_]*)\s*:\s*(\S.*)", printed)
    if given:
        return given[1], given[2]
    found = re.sub(r"[^a-z0-9]+", "_", printed.lower()).strip("_")
    return (f"f_{found}" if found[:1].isdigit() else found), printed


def _slug(level: str) -> str:
    """Part of a claim id: ``>24 mo`` is ``gt24_mo``."""
    for sign, spelt in _SPELT.items():
        level = level.replace(sign, spelt)
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", level).strip("_")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _csv(name: str, rows: Iterable[dict[str, object]]) -> str:
    """CSV text of a table of the format, all its columns there."""
    columns = [column.name for column in TABLES[name]]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
