"""Which estimator printed hazard ratios came from, under a reading, and the statistic it is.

cox         Cox's model, whatever the numbers say
compatible  for each triplet the first estimator that the audit finds it compatible with
shared      the first estimator that every triplet of the endpoint is compatible with
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from her2bayes.audit import hazard_ratios as triplets
from her2bayes.audit import rounding
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand
from her2bayes.reconstruction import summary_statistics as kernel

if TYPE_CHECKING:
    from her2bayes.evidence.study import Study

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
