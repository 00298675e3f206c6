"""A study folder's printed survival as constraints on patients; what is left out is named.

P value printed 0.0011: any P in [0.00105, 0.00115]; hazard ratios and limits on the log scale, each
in its rounding cell; times on a grid of a tenth of a month, a patient's time being the end of the
tenth in which it falls; printed counts are linear facts about the cells of patients. Choices that
the numbers leave open stand in ``reconstruction.toml`` of the study folder (``interpretations``).

Medians that are not reached, limits that are open and bounds such as ``>36`` have no rounding cell,
and a median in years is no number of months. They are told from the rest: what can be said in the
words of a ``Summary`` is added to it, what cannot is left out with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.audit import hazard_ratios as triplets
from her2bayes.audit import rounding
from her2bayes.audit.claims import Claim, read_claims
from her2bayes.audit.rounding import cell, in_months, unit_of
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.summary import (
    PAIR,
    PAIRED,
    Cells,
    CountFact,
    Statistic,
    Summary,
    Target,
)
from her2bayes.cohorts.interpretations import (
    DEFAULTS,
    FOLLOW_UP,
    STATISTIC,
    adjusted,
    check_readings,
    choices,
    decimal,
    endpoints,
    estimators,
    is_triplet,
    ledger_rows,
)
from her2bayes.cohorts.printed_curves import Curves, curves_of, patients_of, with_curves
from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.estimand import Estimand, parse
from her2bayes.transition.facts import cell_mask

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

MODELS = ("univariable", "multivariable")  # readings of a ratio by the model that it is of
ROUNDING = 1e-9  # relative slack of a rounding cell against floating-point error


def summary(
    study: Study,
    endpoint: str | None = None,
    readings: Mapping[str, str] | None = None,
    curves: Curves | None = None,
) -> Summary:
    """All printed constraints of one endpoint, for the factors of ``curves`` as well.

    Raises ``BadInput`` where nothing can be reconstructed.
    """
    given = choices(study)
    known = endpoints(study) if curves is None else list(study.meta.get("endpoints", {}))
    factors = () if curves is None else curves.factors
    endpoint = endpoint or (known[0] if known else "")
    if endpoint not in known:
        raise BadInput(
            Fault("no printed survival for this endpoint", value=endpoint,
                  allowed=", ".join(known) or "none in this study")
        )  # fmt: skip
    chosen = {**DEFAULTS, **given.get("readings", {}), **(readings or {})}
    check_readings(chosen)
    rows = ledger_rows(study, endpoint)
    cells = _cells(study, [estimand for _, estimand in rows], factors)
    estimator = estimators(study, rows, chosen["hazard_ratio"])
    build = _Builder(study, endpoint, cells, chosen, estimator)
    for row, estimand in rows:
        build.add(row, estimand)
    build.directions(given.get("better", ()))
    if chosen["contradictory"] == "left_out":
        build.relax(given.get("contradictory", ()))
    facts = facts_of(study, endpoint, cells, chosen["transition"])
    facts += build.implied(given.get("implied", ()))
    compared = tuple(
        name
        for name in (*cells.factors, PAIRED)
        if name != PAIR[0] and (name in factors or build.compares(name))
    )
    return Summary(
        study=study.id,
        endpoint=endpoint,
        patients=int(study.meta["patients"]),
        cells=cells,
        facts=facts,
        statistics=build.statistics(),
        last=float(given.get("longest") or build.longest()),
        model_factors=compared,
        readings=chosen,
        left_out=tuple(build.left_out),
        table_moves=table_moves(study, cells, chosen["transition"]),
        held_out=tuple(other_models(study, endpoint, cells)),
    )


def _cells(study: Study, estimands: Sequence[Estimand], factors: Sequence[str]) -> Cells:
    names: list[str] = list(factors)
    for estimand in estimands:
        contrast = [estimand.contrast.factor] if estimand.contrast else []
        names += [name for name, _ in estimand.given] + contrast
    wanted = set(names) | (set(PAIR) if PAIRED in names else set())
    order = [name for name in study.factors if name in wanted - {PAIRED}]
    if not order:  # nothing tells patients apart
        return Cells({"group": ("all",)})
    return Cells(
        {name: tuple(study.factors[name].levels) for name in order},
        PAIR if PAIRED in names else None,
    )


class _Builder:
    """Collects the statistics of an endpoint row by row."""

    def __init__(
        self, study: Study, endpoint: str, cells: Cells, chosen: Mapping[str, str],
        estimator: Mapping[str, str | None],
    ) -> None:  # fmt: skip
        self.study, self.endpoint, self.cells, self.chosen = study, endpoint, cells, chosen
        self.estimator = estimator  # by claim
        self.left_out: list[tuple[str, str]] = adjusted(study, endpoint)
        self.found: dict[tuple[Any, ...], list[Target]] = {}
        self.printed: dict[str, tuple[str, rounding.Interval]] = {}
        self.last = 0.0

    def compares(self, factor: str) -> bool:
        """Tell whether some statistic compares or conditions on the factor."""
        return any(key[3] == factor or factor in dict(key[2]) for key in self.found)

    def longest(self) -> float:
        """Longest follow-up possible: the printed one, else twice the longest printed time."""
        times = [
            t.at if t.at is not None else t.high / TENTHS
            for ts in self.found.values()
            for t in ts
            if t.at is not None or t.scale == "months"
        ]
        return self.last or 2 * max(times, default=60.0)

    def statistics(self) -> tuple[Statistic, ...]:
        """All statistics, each with its targets."""
        return tuple(
            Statistic(key[0], key[1], dict(key[2]), key[3], key[4], _in_order(targets))
            for key, targets in self.found.items()
            if targets
        )

    def add(self, row: Any, estimand: Estimand) -> None:
        """One row of the ledger."""
        if estimand.kind == "survival_difference":
            self._difference(row, estimand)
        elif estimand.kind == "hazard_ratio":
            self._ratio(row, estimand)
        elif estimand.kind == "follow_up":
            self._follow_up(row, estimand)
        elif estimand.kind == "survival":
            self._landmark(row, estimand)
        elif row.statistic != "significant":
            self._median(row, estimand)

    def directions(self, given: Sequence[Mapping[str, str]]) -> None:
        """Which group fared better, where words say so."""
        for item in given:
            estimand = parse(item["estimand"])
            key = self._log_rank_key(estimand)
            first = key[4][0] == item["level"]
            bounds = (1e-9, np.inf) if first else (-np.inf, -1e-9)
            words = f"{item['level']} better"
            self._put(key, Target(f"better {estimand}", "direction", words, 1, *bounds, "sign"))

    def relax(self, given: Sequence[Mapping[str, Any]]) -> None:
        """Leave out parts of claims that contradict the rest, each with its reason."""
        for item in given:
            if any(self.chosen.get(axis) != value for axis, value in item.get("under", {}).items()):
                continue
            parts = item.get("parts")
            for key, targets in self.found.items():
                kept = [
                    t
                    for t in targets
                    if t.claim_id != item["claim"] or (parts and t.what not in parts)
                ]
                if len(kept) < len(targets):
                    self.found[key] = kept
                    text = f"{', '.join(parts or ['all'])} left out: {item['why']}"
                    self.left_out.append((item["claim"], text))

    def implied(self, given: Sequence[Mapping[str, str]]) -> tuple[CountFact, ...]:
        """Events that a printed count of something else implies, where the reading uses them."""
        mine = [item for item in given if item["endpoint"] == self.endpoint]
        if self.chosen["implied"] == "left_out":
            self.left_out += [(item["claim"], "implied events left out") for item in mine]
            return ()
        return tuple(implied_fact(self.study, self.cells, item) for item in mine)

    def _put(self, key: tuple[Any, ...], target: Target) -> None:
        targets = self.found.setdefault(key, [])
        if not any(_window(t) == _window(target) for t in targets):
            targets.append(target)

    def _log_rank_key(self, estimand: Estimand) -> tuple[Any, ...]:
        contrast = estimand.contrast
        assert contrast is not None
        levels = (contrast.b, contrast.a) if contrast.a else self.cells.levels(contrast.factor)
        return (str(estimand), kernel.LOG_RANK, estimand.given, contrast.factor, tuple(levels))

    def _difference(self, row: Any, estimand: Estimand) -> None:
        key = self._log_rank_key(estimand)
        degrees = len(key[4]) - 1
        if row.statistic == "significant":
            self._words(row, estimand, key, degrees)
            return
        interval = self._p_interval(row)
        name = str(estimand)
        if name in self.printed and not self.printed[name][1].meets(interval):
            wanted = self.chosen["duplicates"]
            if not str(row.locator).casefold().startswith(wanted):
                self.left_out.append((row.claim_id, f"another reading than '{wanted}'"))
                return
            self.left_out.append((self.printed[name][0], f"another reading than '{wanted}'"))
            self.found[key] = [t for t in self.found[key] if t.position != 0]
        elif name in self.printed:
            return
        self.printed[name] = (row.claim_id, interval)
        self._put(key, _p_target(row, interval, degrees))

    def _words(self, row: Any, estimand: Estimand, key: tuple[Any, ...], degrees: int) -> None:
        has_p = ((self.study.ledger["estimand"] == str(estimand))
                 & (self.study.ledger["statistic"] == "p_value")).any()  # fmt: skip
        if has_p or self.chosen["words"] != "used":
            return
        alpha = float(self.study.meta.get("alpha", 0.05))
        interval = rounding.Interval(0, alpha) if row.value_number else rounding.Interval(alpha, 1)
        if not any(t.position == 0 for t in self.found.get(key, [])):
            self._put(key, _p_target(row, interval, degrees))

    def _ratio(self, row: Any, estimand: Estimand) -> None:
        if not is_triplet(row, estimand):
            return
        contrast, estimator = estimand.contrast, self.estimator[row.claim_id]
        assert contrast is not None
        if estimator is None:
            self.left_out.append((row.claim_id, "no estimator gives all of its parts"))
            return
        kind = STATISTIC[estimator]
        levels: tuple[str, ...] = (contrast.b, contrast.a)
        if kind == kernel.COX and self.chosen["cox"] == "joint":
            rest = [x for x in self.cells.levels(contrast.factor) if x != contrast.b]
            levels = (contrast.b, *rest)
        at = 4 * (levels.index(contrast.a) - 1)
        name = str(Estimand("hazard_ratio", self.endpoint, estimand.given))
        key = (f"{name[:-1]} ; {contrast.factor}]", kind, estimand.given, contrast.factor, levels)
        for what, text, place in (("hazard ratio", row.value, 0), ("lower limit", row.lower, 1),
                                  ("upper limit", row.upper, 2)):  # fmt: skip
            cell = rounding.cell(decimal(text))
            low, high = math.log(max(cell.lower, 1e-6)), math.log(cell.upper)
            self._put(
                key,
                Target(row.claim_id, what, str(text), at + place, low - ROUNDING, high + ROUNDING,
                       "exp"),
            )  # fmt: skip
        if row.p_value and estimator == triplets.LOG_RANK_P:
            test = self._log_rank_key(estimand)
            self._put(test, _p_target(row, self._p_interval(row), 1))
        elif row.p_value:
            place = 3 + at if kind == kernel.COX else 3
            self._put(key, _p_target(row, self._p_interval(row), 1, place))

    def _p_interval(self, row: Any) -> rounding.Interval:
        printed = str(row.p_value).lstrip("<>= ")
        if self.chosen["p_zeros"] == "padded":
            printed = without_padding(printed)
        return rounding.p_cell(decimal(printed), str(row.p_relation or "="))

    def _follow_up(self, row: Any, estimand: Estimand) -> None:
        reading = self.chosen["follow_up"]
        if reading == "left_out":
            self.left_out.append((row.claim_id, "follow-up left out"))
            return
        key = (str(estimand), FOLLOW_UP[reading], estimand.given, "", ())
        self._put(key, _months(row.claim_id, "median follow-up", row.value, 0))
        if row.statistic == "median_range":
            self._put(key, _months(row.claim_id, "shortest follow-up", row.lower, 1))
            self._put(key, _months(row.claim_id, "longest follow-up", row.upper, 2))
            self.last = float(row.upper)
        elif row.lower:
            self.left_out.append((row.claim_id, "interval of the follow-up: method not stated"))

    def _landmark(self, row: Any, estimand: Estimand) -> None:
        """Survival at a time, in per cent or as a fraction."""
        at = in_months(rounding.Interval(estimand.time or 0.0, estimand.time or 0.0),
                       estimand.time_unit)  # fmt: skip
        if at is None or row.value == "" or row.relation not in ("", "="):
            self.left_out.append((row.claim_id, "survival that is not printed as one number"))
            return
        printed, scale = cell(decimal(row.value)), 100 if row.unit == "%" else 1
        low, high = max(printed.lower / scale, 0.0), min(printed.upper / scale, 1.0)
        time = (at.lower + at.upper) / 2
        name = str(Estimand("survival", self.endpoint, estimand.given))
        text, what = f"{row.value} {row.unit}".strip(), f"survival at {time:g} months"
        target = Target(row.claim_id, what, text, 0, low - ROUNDING, high + ROUNDING, "share", time)
        self.found.setdefault((name, kernel.SURVIVAL, estimand.given, "", ()), []).append(target)
        if row.lower:
            self.left_out.append((row.claim_id, "interval of the survival: method not stated"))

    def _median(self, row: Any, estimand: Estimand) -> None:
        key = (str(estimand), kernel.MEDIAN, estimand.given, "", ())
        self._put(key, _months(row.claim_id, "median", row.value, 0))
        if row.statistic == "median_ci":
            alike = ", as far from the median below as above" if _is_centred(row) else ""
            text = f"interval of the median: method not stated{alike}"
            self.left_out.append((row.claim_id, text))


def _in_order(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Numbers at times in the order of the times, those of one time and window once."""
    if any(target.at is None for target in targets):
        return tuple(targets)
    distinct = {(target.at, target.low, target.high): target for target in targets[::-1]}
    ordered = sorted(distinct.values(), key=lambda target: (target.at or 0.0, target.low))
    return tuple(replace(target, position=k) for k, target in enumerate(ordered))


def other_models(study: Study, endpoint: str, cells: Cells) -> Iterator[Statistic]:
    """Cox models of one factor, or of several, that no chain can meet: cohorts are asked instead.

    One of several is adjusted for all other factors of the cells; what else it held is not known.
    """
    alpha = float(study.meta.get("alpha", 0.05))
    row: Any
    for row in study.ledger.itertuples():
        estimand = parse(str(row.estimand))
        contrast = estimand.contrast
        if contrast is None or not contrast.a or estimand.outcome != endpoint:
            continue
        known = {contrast.factor, *(name for name, _ in estimand.given)} <= set(cells.factors)
        if estimand.kind != "hazard_ratio" or row.reading not in MODELS or not known:
            continue
        others = [name for name in cells.factors if name != contrast.factor]
        others = [name for name in others if name not in dict(estimand.given)]
        targets = tuple(_of_model(row, alpha))
        if targets:
            several = tuple(others) if row.reading == MODELS[1] else ()
            yield Statistic(str(estimand), kernel.COX, dict(estimand.given), contrast.factor,
                            (contrast.b, contrast.a), targets, several)  # fmt: skip


def _of_model(row: Any, alpha: float) -> Iterator[Target]:
    """Ratio, limits and P of one row, or that it is significant."""
    claim = str(row.claim_id)
    if row.statistic == "significant":
        ends = (0.0, alpha) if row.value_number else (alpha, 1.0)
        yield _p_target(row, rounding.Interval(*ends), 1, 3)
        return
    parts = (("hazard ratio", row.value), ("lower limit", row.lower), ("upper limit", row.upper))
    for place, (what, text) in enumerate(parts):
        if row.statistic == "hazard_ratio" and text:
            window = rounding.cell(decimal(text))
            low, high = math.log(max(window.lower, 1e-6)), math.log(window.upper)
            yield Target(claim, what, str(text), place, low, high, "exp")
    if row.p_value:
        printed = rounding.p_cell(decimal(str(row.p_value).lstrip("<>= ")), row.p_relation or "=")
        yield _p_target(row, printed, 1, 3)


def without_padding(printed: str) -> str:
    """Return a P value without zeros that may only fill up its third decimal: 0.020 as 0.02."""
    whole, mark, decimals = printed.partition(".")
    kept = decimals.rstrip("0").ljust(2, "0")
    return whole + mark + kept if mark and len(kept) < len(decimals) else printed


def _is_centred(row: Any) -> bool:
    middle = (decimal(row.lower) + decimal(row.upper)) / 2
    return bool(middle == decimal(row.value))


def _window(target: Target) -> tuple[int, float, float]:
    return target.position, target.low, target.high


def _p_target(row: Any, interval: rounding.Interval, degrees: int, position: int = 0) -> Target:
    """Window of chi-square; P falls as it grows."""
    low = float(stats.chi2.isf(min(interval.upper, 1.0), degrees))
    high = float(stats.chi2.isf(max(interval.lower, 0.0), degrees))
    text = str(row.p_value or row.text)
    return Target(row.claim_id, "P", text, position, low - ROUNDING, high + ROUNDING, f"p{degrees}")


def _months(claim: str, what: str, text: object, position: int) -> Target:
    """Window in month tenths."""
    cell = rounding.cell(decimal(text))
    slack = 1e-6
    return Target(
        claim, what, str(text), position, 10 * cell.lower - slack, 10 * cell.upper + slack, "months"
    )


def facts_of(study: Study, endpoint: str, cells: Cells, reading: str) -> tuple[CountFact, ...]:
    """All printed counts, each distinct one once."""
    found = _survival_facts(study, endpoint, cells) + _status_facts(study, cells)
    if cells.pair:
        found += _transition_facts(study, cells, reading)
    found += _count_facts(study, cells, found)
    distinct: dict[tuple[bytes, bool, int], CountFact] = {}
    for fact in found:
        distinct.setdefault((fact.cells.tobytes(), fact.event, fact.low), fact)
    return tuple(distinct.values())


def implied_fact(study: Study, cells: Cells, given: Mapping[str, str]) -> CountFact:
    """Events among all patients that a printed count implies; raises ``BadInput`` if unknown."""
    row = study.ledger[study.ledger["claim_id"] == given["claim"]]
    if row.empty or given["relation"] not in (">=", "<=", "="):
        raise BadInput(
            Fault("no such claim, or relation other than >=, <=, =", file=study.folder,
                  value=f"{given['claim']} {given['relation']}")
        )  # fmt: skip
    number = int(row["value_number"].iloc[0])
    low = 0 if given["relation"] == "<=" else number
    high = int(study.meta["patients"]) if given["relation"] == ">=" else number
    mask = np.ones(len(cells.combinations), np.int64)
    what = f"events, all patients: implied, as {given['why']}"
    return CountFact(given["claim"], what, mask, True, low, high)


def _survival_facts(study: Study, endpoint: str, cells: Cells) -> list[CountFact]:
    found = []
    row: Any
    for row in study.survival[study.survival["endpoint"] == endpoint].itertuples():
        if row.factor and not cells.knows(row.factor):
            continue
        mask = cells.where({row.factor: row.level} if row.factor else {}).astype(np.int64)
        where = f"{row.factor}={row.level}" if row.factor else "all patients"
        for name, number in (("patients", row.patients), ("events", row.events)):
            if pd.notna(number):
                claim, count = f"survival.csv {where} {name}", int(number)
                event = name == "events"
                found.append(CountFact(claim, f"{name}, {where}", mask, event, count, count))
    return found


def _status_facts(study: Study, cells: Cells) -> list[CountFact]:
    found = []
    for factor, counts in study.status_counts().items():
        if "her2" not in cells.factors or (factor and factor not in cells.factors):
            continue
        for level in counts["subgroup"].to_numpy():
            for her2 in counts["her2"].to_numpy():
                given = {"her2": str(her2), **({factor: str(level)} if factor else {})}
                number = int(counts.sel(subgroup=level, her2=her2))
                what = " ".join(given.values())
                mask = cells.where(given).astype(np.int64)
                claim = f"status_counts.csv {what}"
                found.append(CountFact(claim, what, mask, False, number, number))
    return found


def _count_facts(study: Study, cells: Cells, known: Sequence[CountFact]) -> list[CountFact]:
    """Patients by levels that the ledger prints and no table: a count, or of how many a share is.

    Of levels and groups of levels that a table holds, tables say it.
    """
    held = {fact.cells.tobytes() for fact in known if not fact.event}
    found = []
    row: Any
    for row in study.ledger.itertuples():
        estimand = parse(str(row.estimand))
        given = _levels(estimand, str(row.statistic))
        if not given or row.reading or not all(name in cells.factors for name in given):
            continue
        number = row.value_number if row.statistic == "count" else row.numerator
        known_levels = all(level in cells.levels(name) for name, level in given.items())
        if pd.isna(number) or row.relation not in ("", "=") or not known_levels:
            continue
        mask = cells.where(given).astype(np.int64)
        if mask.tobytes() not in held:
            held.add(mask.tobytes())
            what = f"patients, {', '.join(f'{n}={v}' for n, v in given.items())}"
            found.append(CountFact(row.claim_id, what, mask, False, int(number), int(number)))
    return found


def _levels(estimand: Estimand, statistic: str) -> dict[str, str]:
    """Levels of the patients that a row counts; none where it counts something else."""
    if estimand.kind not in ("count", "share") or statistic not in ("count", "percentage"):
        return {}
    factor, mark, level = estimand.outcome.partition("=")
    return dict(estimand.given) | ({factor: level} if mark else {})


def _transition_facts(study: Study, cells: Cells, reading: str) -> list[CountFact]:
    found = []
    her2 = cells.factors["her2"]
    fact: Any
    for fact in study.transition_facts.fillna("").itertuples():
        if fact.reading not in ("", reading) or (fact.factor and fact.factor not in cells.factors):
            continue
        coefficient = cell_mask(str(fact.cells), her2)
        mask = np.zeros(len(cells.combinations), np.int64)
        for position, levels in enumerate(cells.combinations):
            if not fact.factor or levels[fact.factor] == fact.level:
                primary, recurrence = (her2.index(levels[name]) for name in PAIR)
                mask[position] = coefficient[primary, recurrence]
        value = int(fact.value)
        least = {"=": value, ">=": value, ">": value + 1}.get(fact.relation, 0)
        most = {"=": value, "<=": value, "<": value - 1}.get(fact.relation, 10**9)
        found.append(CountFact(fact.claim_id, f"fact {fact.fact_id}", mask, False, least, most))
    return found


def table_moves(study: Study, cells: Cells, reading: str) -> np.ndarray | None:
    """Short moves between paired tables that keep the classes at recurrence."""
    if cells.pair is None or study.transition_facts.empty:
        return None
    from her2bayes.transition.facts import table_set
    from her2bayes.transition.table_sampler import lattice_basis, short_moves

    her2 = cells.factors["her2"]
    try:
        basis = lattice_basis(table_set(study.transition_facts, her2, (), reading))
    except ValueError:  # no table agrees with the facts: said where a start is sought
        return None
    moves = short_moves(basis, limit=24).reshape(-1, len(her2), len(her2))
    return moves[(moves.sum(axis=1) == 0).all(axis=1)]


TENTHS = 10.0  # of a month
SLACK = 1e-6


def read_summary(
    study: Study,
    endpoint: str | None = None,
    readings: Mapping[str, str] | None = None,
    curves: Curves | None = None,
    held_out: Collection[str] = (),
) -> Summary:
    """All constraints of one endpoint, those of curves of the call or of the study folder too.

    Claims that are ``held_out`` are none. Raises ``BadInput`` where nothing can be reconstructed.
    """
    known = endpoints(study)
    curves = curves or curves_of(study, endpoint or (known[0] if known else ""))
    apart = [claim for claim in read_claims(study) if _stands_apart(study, claim)]
    names = {claim.id for claim in apart}
    kept = study.ledger[~study.ledger["claim_id"].isin(names)].reset_index(drop=True)
    found = summary(replace(study, ledger=kept) if names else study, endpoint, readings, curves)
    for claim in apart:
        if claim.estimand.outcome == found.endpoint:
            found = _with(found, claim)
    if curves is not None:
        unit = study.meta["endpoints"][found.endpoint].get("unit", "months")
        found = with_curves(found, curves, str(unit))
    return found.holding_out(_used(found, held_out)) if held_out else found


def _used(found: Summary, claims: Collection[str]) -> set[str]:
    """Claims that are used; raises ``BadInput`` with those that are not."""
    used = [target.claim_id for statistic in found.statistics for target in statistic.targets]
    names = list(dict.fromkeys(used))
    raise_if([
        Fault(f"no survival number of {found.endpoint} that is used", value=claim,
              allowed=", ".join(names[:12]), remedy=suggestion(claim, names))
        for claim in claims if claim not in names
    ])  # fmt: skip
    return set(claims)


def _stands_apart(study: Study, claim: Claim) -> bool:
    """Tell whether a row of survival has a part that is no number of months, or of a ratio."""
    kind, endpoints = claim.estimand.kind, study.meta.get("endpoints", {})
    if claim.reading or claim.estimand.outcome not in endpoints:
        return False
    if claim.statistic == "hazard_ratio":
        return claim.value is None or claim.lower is None or claim.upper is None
    if kind not in ("median", "follow_up") or claim.statistic == "significant":
        return False
    unit = claim.unit or str(endpoints[claim.estimand.outcome].get("unit", ""))
    ends = claim.statistic != "median" and None in (claim.lower, claim.upper)
    return claim.value is None or claim.relation != "=" or ends or unit_of(unit) != "months"


def _with(found: Summary, claim: Claim) -> Summary:
    """A summary with what a row says that is no plain number."""
    if claim.statistic == "hazard_ratio":
        return _left_out(found, claim, "a ratio without both limits: which estimator it is is open")
    if claim.estimand.kind == "follow_up":
        return _left_out(found, claim, "follow-up that is not printed as a number of months")
    if claim.not_reached:
        return _not_reached(found, claim)
    window = _printed_window(claim)
    if window is None:
        return _left_out(found, claim, f"'{claim.unit}' is no unit of time")
    if claim.relation != "=":
        return _left_out(found, claim, "a bound of the median, not a number")
    if claim.statistic == "median_ci":
        found = _left_out(found, claim, "interval of the median: method not stated")
    return _median(found, claim, *window)


def _left_out(found: Summary, claim: Claim, why: str) -> Summary:
    return replace(found, left_out=(*found.left_out, (claim.id, why)))


def _not_reached(found: Summary, claim: Claim) -> Summary:
    """At most half of the patients of the group had the event, where their number is printed.

    Kaplan-Meier survival at the end is at most the share of patients without the event, so this is
    what a median not reached says of counts; that the curve stays above one half needs more.
    """
    patients = patients_of(found, dict(claim.estimand.given))
    if patients is None:
        return _left_out(found, claim, "median not reached, of a group whose size is not printed")
    mask = found.cells.where(dict(claim.estimand.given)).astype(np.int64)
    most = (patients - 1) // 2
    what = f"events, {claim.estimand}: median not reached"
    fact = CountFact(claim.id, what, mask, True, 0, most)
    why = f"median not reached: used as at most {most} events of {patients} patients"
    return _left_out(replace(found, facts=(*found.facts, fact)), claim, why)


def _printed_window(claim: Claim) -> tuple[float, float] | None:
    assert claim.value is not None  # the caller has looked
    window = in_months(cell(claim.value), claim.unit or "months")
    return None if window is None else (window.lower, window.upper)


def _median(found: Summary, claim: Claim, low: float, high: float) -> Summary:
    """The median of another unit as a window in months."""
    name = str(claim.estimand)
    text = f"{claim.value} {claim.unit}"
    target = Target(
        claim.id, "median", text, 0, TENTHS * low - SLACK, TENTHS * high + SLACK, "months"
    )
    statistics = list(_joined(found.statistics, name, target))
    if len(statistics) == len(found.statistics) and statistics == list(found.statistics):
        one = Statistic(name, kernel.MEDIAN, dict(claim.estimand.given), "", (), (target,))
        statistics.append(one)
    return replace(found, statistics=tuple(statistics))


def _joined(statistics: tuple[Statistic, ...], name: str, target: Target) -> Iterator[Any]:
    for one in statistics:
        if one.kind == kernel.MEDIAN and one.estimand == name:
            yield replace(one, targets=(*one.targets, target))
        else:
            yield one
