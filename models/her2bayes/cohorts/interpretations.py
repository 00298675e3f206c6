"""Choices that a paper's printed survival leaves open: which endpoints, which readings.

They stand in ``reconstruction.toml`` of the study folder:

    transition   reading of the paired table (a reading of transition_facts.csv)
    duplicates   which of two P values of one analysis: the locator's first word, e.g. results
    follow_up    observed | reverse | survivors
    cox          joint | pairwise (hazard ratios against one reference: one model or several)
    hazard_ratio cox | compatible (the first estimator that the printed triplet is compatible with)
                 | shared (the first that every triplet of the endpoint is compatible with)
    p_zeros      printed | padded (a zero in the third decimal may only fill up: 0.020 as 0.02)
    words        used | left_out (significance claimed in words where no P is printed)
    implied      used | left_out (events that other counts imply, listed there with the reason)
    contradictory used | left_out (parts of claims listed there, each with the reason, and where
                 ``under`` names readings, only under these)

Which estimator printed hazard ratios came from, under a reading, and the statistic it is.

cox         Cox's model, whatever the numbers say
compatible  for each triplet the first estimator that the audit finds it compatible with
shared      the first estimator that every triplet of the endpoint is compatible with
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from her2bayes.audit import hazard_ratios as triplets
from her2bayes.audit import rounding
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.replica import SHARPEST, Settings
from her2bayes.cohorts.printed_curves import endpoints_drawn
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study


STATISTIC = {
    triplets.WALD: kernel.COX,
    triplets.LOG_RANK_P: kernel.COX,
    triplets.PETO: kernel.PETO,
    triplets.EXPECTED: kernel.EXPECTED,
    triplets.OBSERVED: kernel.OBSERVED,
}


def estimators(
    study: Study, rows: Sequence[tuple[Any, Estimand]], reading: str
) -> dict[str, str | None]:
    """Estimator by claim; None where no estimator gives all parts of the triplet.

    Raises ``BadInput`` where one estimator is asked for and none is compatible with all triplets.
    """
    ratios = [(row, estimand) for row, estimand in rows if is_triplet(row, estimand)]
    if reading == "cox":
        return {row.claim_id: triplets.WALD for row, _ in ratios}
    fits = {
        row.claim_id: [fit.estimator for fit in triplets.compatible(triplet(study, row, estimand))]
        for row, estimand in ratios
    }
    if reading == "compatible":
        return {claim: found[0] if found else None for claim, found in fits.items()}
    each = [set(found) for found in fits.values() if found]
    common = [name for name in triplets.ESTIMATORS if all(name in one for one in each)]
    if each and not common:
        raise BadInput(
            Fault("no estimator is compatible with every hazard ratio", value=study.id,
                  remedy="another reading: --reading hazard_ratio=compatible")
        )  # fmt: skip
    return {claim: common[0] if found else None for claim, found in fits.items()}


def is_triplet(row: Any, estimand: Estimand) -> bool:
    """Tell whether a row of the ledger holds a hazard ratio of two groups with its limits."""
    contrast = estimand.contrast
    return row.statistic == "hazard_ratio" and contrast is not None and bool(contrast.a)


def triplet(study: Study, row: Any, estimand: Estimand) -> triplets.Triplet:
    """A hazard ratio as the audit reads it, with the patients and events that are printed."""
    contrast = estimand.contrast
    assert contrast is not None
    table = study.survival
    table = table[(table["endpoint"] == estimand.outcome) & (table["factor"] == contrast.factor)]
    patients = table.set_index("level")["patients"]
    both = [patients.get(level) for level in (contrast.a, contrast.b)]
    total = study.survival.query("endpoint == @estimand.outcome and factor == ''")["events"]
    events = None if total.empty or total.isna().all() else int(total.iloc[0])
    known = estimand.given == () and all(n is not None for n in both)
    return triplets.Triplet(
        decimal(row.value),
        decimal(row.lower),
        decimal(row.upper),
        decimal(str(row.p_value).lstrip("<>= ")) if row.p_value else None,
        str(row.p_relation or "="),
        (int(both[0] or 0), int(both[1] or 0)) if known else None,
        (None, None),
        events,
    )


def decimal(text: object) -> Decimal:
    """Return a printed number with its decimals."""
    value = rounding.decimal(str(text))
    assert value is not None  # the ledger is checked
    return value


CHOICES = "reconstruction.toml"
DEFAULTS = {
    "transition": "",
    "duplicates": "results",
    "follow_up": "observed",
    "cox": "joint",
    "hazard_ratio": "cox",
    "p_zeros": "printed",
    "words": "used",
    "implied": "used",
    "contradictory": "left_out",
}
FOLLOW_UP = {
    "observed": kernel.FOLLOW_UP,
    "reverse": kernel.FOLLOW_UP_REVERSE,
    "survivors": kernel.FOLLOW_UP_SURVIVORS,
}


def choices(study: Study) -> dict[str, Any]:
    """Content of ``reconstruction.toml``; empty where the study has none."""
    path = study.folder / CHOICES
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(Fault(f"not a TOML file: {error}", file=path)) from error


def endpoints(study: Study) -> list[str]:
    """Endpoints whose patients can be reconstructed: those with tests, times or a figure."""
    given = choices(study).get("endpoints")
    if given:
        return [str(name) for name in given]
    drawn = endpoints_drawn(study)
    declared = study.meta.get("endpoints", {})
    return [name for name in declared if name in drawn or ledger_rows(study, name)]


def reported(study: Study) -> list[str]:
    """Endpoints that a report reconstructs: those known to give cohorts in reasonable time."""
    return [str(name) for name in choices(study).get("reported", ())]


def check_readings(chosen: Mapping[str, str]) -> None:
    """Raise ``BadInput`` with every axis or value that does not exist."""
    allowed = {
        "follow_up": (*FOLLOW_UP, "left_out"),
        "cox": ("joint", "pairwise"),
        "hazard_ratio": ("cox", "compatible", "shared"),
        "p_zeros": ("printed", "padded"),
        "words": ("used", "left_out"),
        "implied": ("used", "left_out"),
        "contradictory": ("used", "left_out"),
    }
    faults = [
        Fault("no such axis of readings", value=name, allowed=", ".join(DEFAULTS))
        for name in chosen
        if name not in DEFAULTS
    ]
    faults += [
        Fault(f"reading of '{name}'", value=chosen[name], allowed=", ".join(values))
        for name, values in allowed.items()
        if chosen[name] not in values
    ]
    if faults:
        raise BadInput(faults)


def ledger_rows(study: Study, endpoint: str) -> list[tuple[Any, Estimand]]:
    """Rows of the ledger about one endpoint, unadjusted analyses only."""
    kinds = ("survival_difference", "hazard_ratio", "follow_up", "median", "survival")
    found = []
    for row in study.ledger.itertuples():
        estimand = parse(str(row.estimand))
        if estimand.kind in kinds and estimand.outcome == endpoint and not row.reading:
            found.append((row, estimand))
    return found


def adjusted(study: Study, endpoint: str) -> list[tuple[str, str]]:
    """Hazard ratios and survival of the endpoint that cannot be used, and why."""
    found = []
    row: Any
    for row in study.ledger.itertuples():
        estimand = parse(str(row.estimand))
        of_model = row.statistic == "hazard_ratio" or estimand.kind == "survival"
        if of_model and estimand.outcome == endpoint and row.reading:
            why = f"{row.reading} model: its other factors are not among the cells of patients"
            found.append((str(row.claim_id), why))
    return found


def settings_of(study: Study, **changes: Any) -> Settings:
    """Settings that a study chooses, with changes; raises ``BadInput`` with every fault."""
    chosen = dict(choices(study).get("chains", {}))
    names = [field.name for field in fields(Settings) if field.name != "seed"]
    faults = []
    for name, value in chosen.items():
        numbers = value if name == "reheats" and isinstance(value, list) else [value]
        good = all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in numbers)
        if name not in names:
            faults.append(_fault(study, "no such setting", name, ", ".join(names)))
        elif name == "reheats" and (len(numbers) != 3 or not good):
            faults.append(_fault(study, "reheats", value, "three whole numbers, 0 or more"))
        elif not good or (value == 0 and name != "ridges"):
            faults.append(_fault(study, name, value, "a whole number above 0"))
        elif name == "softest" and value >= SHARPEST:
            faults.append(_fault(study, name, value, f"below {SHARPEST:g}, the sharpest place"))
    if faults:
        raise BadInput(faults)
    if "reheats" in chosen:
        chosen["reheats"] = tuple(chosen["reheats"])
    return Settings(**{**chosen, **changes})


def _fault(study: Study, problem: str, value: object, allowed: str) -> Fault:
    place = study.folder / CHOICES
    return Fault(f"[chains] {problem}", file=place, value=value, allowed=allowed)
