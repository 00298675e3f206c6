"""Published | Reproduced | Posterior: ledger, audit and estimates joined on the estimand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import pandas as pd

from her2bayes.estimand import KINDS, Estimand, parse
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS, TEXT_COLUMNS
from her2bayes.page.numbers import interval, probability

_POSTERIOR = (
    "posterior_median",
    "posterior_lower",
    "posterior_upper",
    "posterior_probability",
    "prior_median",
    "prior_lower",
    "prior_upper",
    "prior_probability",
    "contraction",
    "model",
    "fit_id",
    "convergence",
)
POSTERIOR_NUMBERS = _POSTERIOR[: _POSTERIOR.index("model")]
_CLASSICAL = ("reproduced", "reproduced_lower", "reproduced_upper", "reproduced_p", "method")

# origins by how little a number from there tells beyond what was put in
_BY_CLAIM = ("by_construction", "implied", "patients", "recomputed")

ADJUSTED = {"multivariable"}  # readings that no unadjusted estimate answers


class Printed(Protocol):
    """Printed numbers that a table is made for: a study, or some of its claims."""

    @property
    def id(self) -> str:
        """Name of the study."""

    @property
    def ledger(self) -> pd.DataFrame:
        """One row a printed number."""


@dataclass(frozen=True)
class Claims:
    """Some of the printed numbers of a study, or none."""

    id: str
    ledger: pd.DataFrame


def join_unprinted(
    name: str, estimates: pd.DataFrame, classical: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Evidence table of an analysis without a paper: no printed numbers, ``name`` as the study."""
    nothing = Claims(name, pd.DataFrame({"claim_id": []}))
    return join(nothing, pd.DataFrame({"claim_id": []}), estimates, classical)


def join(
    study: Printed,
    audited: pd.DataFrame,
    estimates: pd.DataFrame,
    classical: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Build the evidence table with exactly ``EVIDENCE_COLUMNS``.

    One row for each ledger id, in ledger order, with the audit's verdict; then one row with an
    empty ``claim_id`` for each estimand that is estimated (``estimates``: posterior) or computed
    (``classical``: named intervals) but not printed. A row meets the estimate of its own estimand
    and reading; a row without an estimate of its reading meets the one that holds under every
    reading, unless it is adjusted for other factors. The test of an association is answered by
    differences of shares, in its posterior columns and its note; it never gets a second P.
    Raises ``ValueError`` where the audit lost or doubled a row, or where a row and its estimate
    have different units.
    """
    order = list(study.ledger["claim_id"])
    if sorted(audited["claim_id"]) != sorted(order):
        raise ValueError("the audit must give exactly one row for each ledger id")
    fits = _index(estimates)
    tests = _index(classical if classical is not None else pd.DataFrame())
    used: set[tuple[str, str]] = set()
    rows = []
    patients: Any = study.ledger.set_index("claim_id").get("denominator", {})
    for row in audited.set_index("claim_id", drop=False).loc[order].to_dict(orient="records"):
        filled = {str(name): value for name, value in row.items()} | {"study": study.id}
        filled["denominator"] = patients.get(filled["claim_id"])
        for table, fill in ((tests, _with_classical), (fits, _with_posterior)):
            key = _match(table, filled)
            if key:
                used.add(key)
                filled = fill(filled, table[key])
        rows.append(_answered(filled, fits.values()))
    rows += [_unprinted(study.id, key, fits, tests) for key in (fits | tests) if key not in used]
    return _frame(rows)


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of several tables of estimates or of classical rows, each estimand and reading once.

    Where a later table answers what an earlier one did (another model of the same patients), the
    model is the reading of its row; a classical row that is there already is left out.
    """
    seen: set[tuple[str, str]] = set()
    found = []
    for table in tables:
        if table.empty:
            continue
        read = table.get("reading", pd.Series("", index=table.index)).fillna("")
        model = table.get("model", read)
        reading = [
            m if (e, r) in seen else r
            for e, r, m in zip(table["estimand"], read, model, strict=True)
        ]
        keys = list(zip(table["estimand"], reading, strict=True))
        fresh = [key not in seen for key in keys]
        found.append(table.assign(reading=reading)[fresh])
        seen |= set(keys)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _index(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for record in table.to_dict(orient="records"):
        # tables of several families are joined, and one may lack a column of text
        row = {
            str(name): "" if name in TEXT_COLUMNS and pd.isna(value) else value
            for name, value in record.items()
        }
        key = (str(parse(row["estimand"])), row.get("reading") or "")
        if key in records:
            raise ValueError(f"two estimates of {key[0]} under reading '{key[1]}'")
        records[key] = row
    return records


def _match(table: Mapping[tuple[str, str], Any], row: Mapping[str, Any]) -> tuple[str, str] | None:
    asked = parse(row["estimand"])
    if asked.kind == "association" and _is_test(row):
        return None  # answered by differences of shares; Cramér's V has a row of its own
    reading = row.get("reading") or ""
    keys = [(str(asked), reading)]
    keys += [(str(asked), "")] if reading not in ADJUSTED else []
    return next((key for key in keys if key in table), None)


def _counted(row: Mapping[str, Any], estimate: Mapping[str, Any]) -> Mapping[str, Any]:
    """Turn an estimated rate into patients where the paper prints their number."""
    patients = row.get("denominator")
    rate = estimate.get("unit") == "%" and row.get("unit") == "patients"
    if not rate or row.get("statistic") != "count" or pd.isna(patients):
        return estimate
    scaled = {
        name: _float(estimate.get(name)) * float(patients) / 100
        for name in _POSTERIOR
        if name.endswith(("_median", "_lower", "_upper"))
    }
    note = f"posterior columns: the rate times {int(patients)} patients"
    return {
        **estimate,
        **scaled,
        "unit": "patients",
        "note": _sentences(estimate.get("note"), note),
    }


def _with_posterior(row: dict[str, Any], estimate: Mapping[str, Any]) -> dict[str, Any]:
    estimate = _counted(row, estimate)
    unit = row.get("unit") or estimate.get("unit", "")
    if not _is_test(row):
        _same_unit(row, "printed", estimate, "estimated")
    return {
        **row,
        **{name: estimate.get(name) for name in _POSTERIOR},
        "unit": unit,
        "note": _sentences(row.get("note"), estimate.get("note")),
        "evidence_kind": _weaker(row.get("evidence_kind"), estimate.get("evidence_kind")),
    }


def _weaker(audited: object, estimated: object) -> str:
    """Name the origin that claims less: a posterior may rest on less than the audited number."""
    kinds = {audited, estimated or "recomputed"}
    return next((kind for kind in _BY_CLAIM if kind in kinds), "recomputed")


def _with_classical(row: dict[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """Put a named interval beside a reproduced share; the audit's own interval comes first."""
    bare = (
        pd.isna(row.get("reproduced_lower")) or row["reproduced_lower"] == row["reproduced_upper"]
    )
    same = abs(_float(row.get("reproduced")) - _float(test["reproduced"])) < 1e-6
    if _is_test(row) or not bare or not same:
        return row
    _same_unit(row, "printed", test, "computed")
    return {
        **row,
        "reproduced_lower": test["reproduced_lower"],
        "reproduced_upper": test["reproduced_upper"],
        "method": _sentences(row.get("method"), test["method"]),
    }


def _same_unit(one: Mapping[str, Any], first: str, other: Mapping[str, Any], second: str) -> None:
    """Refuse two numbers of one row in different units; a test's P has none."""
    units = str(one.get("unit") or ""), str(other.get("unit") or "")
    if units[0] != units[1]:
        name = one.get("claim_id") or one.get("estimand")
        raise ValueError(f"{name}: {first} in '{units[0]}', {second} in '{units[1]}'")


def _float(value: object) -> float:
    return float(value) if isinstance(value, Real) else float("nan")


def _is_test(row: Mapping[str, Any]) -> bool:
    return row.get("statistic") in {"p_value", "significant"}


def _answered(row: dict[str, Any], estimates: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Answer the test of an association with posterior differences.

    The columns get the largest difference between any two levels, which is one quantity whatever
    the data, beside its prior; where there are two levels only, their difference. The note names
    the rows of the single differences.
    """
    asked = parse(row["estimand"])
    if asked.kind != "association" or not _is_test(row):
        return row
    plain = [(parse(e["estimand"]), e) for e in estimates if not e.get("reading")]
    answers = [e for answer, e in plain if _answers(asked, answer)]
    if not answers:
        return row
    whole = next((e for answer, e in plain if _summarises(asked, answer)), None)
    only = answers[0] if len(answers) == 1 else None
    summary = whole or only
    note = _sentences(row.get("note"), f"posterior answer: {_largest(answers)}")
    if summary is None:
        return {**row, "note": note}
    return {
        **row,
        **{name: summary.get(name) for name in _POSTERIOR},
        "unit": summary["unit"],
        "note": _sentences(note, f"posterior columns: {summary['note']}"),
        "evidence_kind": _weaker(row.get("evidence_kind"), summary.get("evidence_kind")),
    }


def _largest(answers: Sequence[Mapping[str, Any]]) -> str:
    kind = parse(answers[0]["estimand"]).kind
    largest = max(answers, key=lambda e: abs(e["posterior_median"]))
    median, lower, upper = (largest[name] for name in _POSTERIOR[:3])
    chance = largest["posterior_probability"]
    sign = probability(max(chance, 1 - chance))
    rows = f"{len(answers)} rows {kind}, largest " if len(answers) > 1 else ""
    return (
        f"{rows}{largest['estimand']} {interval(median, lower, upper, unit='%')} percentage "
        f"points{f', probability of this sign {sign}' if sign else ''}"
    )


def _summarises(asked: Estimand, answer: Estimand) -> bool:
    return (
        answer.kind == "heterogeneity"
        and answer.outcome == f"{asked.outcome} share"
        and (answer.contrast, answer.given) == (asked.contrast, asked.given)
    )


def _answers(asked: Estimand, answer: Estimand) -> bool:
    if answer.contrast is None or asked.contrast is None:
        return False
    same = answer.contrast.factor == asked.contrast.factor and answer.given == asked.given
    of_share = answer.kind == "share_difference" and answer.outcome.startswith(f"{asked.outcome}=")
    of_change = answer.kind == f"{asked.outcome}_difference"
    return same and (of_share or of_change)


def _unprinted(
    study: str,
    key: tuple[str, str],
    fits: Mapping[tuple[str, str], Mapping[str, Any]],
    tests: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    fit, test = fits.get(key, {}), tests.get(key, {})
    asked = parse(key[0])
    named = KINDS[asked.kind].statistic
    if fit and test and not _is_test(test):
        _same_unit(fit, "estimated", test, "computed")
    for part in (fit, test):
        if part and not _is_test(part):
            asked.check_unit(str(part.get("unit") or ""))
    return {
        **{name: test.get(name) for name in _CLASSICAL},
        **{name: fit.get(name) for name in _POSTERIOR},
        "study": study,
        "locator": fit.get("locator") or test.get("locator") or "",
        "estimand": key[0],
        "reading": key[1],
        "statistic": fit.get("statistic") or test.get("statistic") or named or asked.kind,
        "note": _sentences(fit.get("note"), test.get("note")),
        "unit": fit.get("unit") or test.get("unit") or "",
        "evidence_kind": fit.get("evidence_kind") or "recomputed",
    }


def _sentences(*parts: object) -> str:
    return "; ".join(dict.fromkeys(p for p in parts if isinstance(p, str) and p))


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    records = list(rows)
    frame = pd.DataFrame(
        {name: list(_column(records, name)) for name in EVIDENCE_COLUMNS}, columns=EVIDENCE_COLUMNS
    )
    convert: dict[str, Callable[[pd.Series], pd.Series]] = {
        name: (lambda s: s.astype(str)) if name in TEXT_COLUMNS else (lambda s: s.astype(float))
        for name in EVIDENCE_COLUMNS
    }
    return frame.assign(**{name: convert[name](frame[name]) for name in EVIDENCE_COLUMNS})


def _column(records: list[Mapping[str, Any]], name: str) -> Iterator[Any]:
    for record in records:
        value = record.get(name)
        missing = value is None or (not isinstance(value, str) and pd.isna(value))
        if name in TEXT_COLUMNS:
            yield "" if missing else str(value)
        else:
            yield float("nan") if missing or value == "" else value
