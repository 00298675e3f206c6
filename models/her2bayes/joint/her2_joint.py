"""True HER2 class at primary and recurrence, two fallible readings, survival by the true class.

Patient i of stratum s with readings r0, r1 (each a class or a set of classes), followed from e to t
months after recurrence (d = 1: an event, of cause c):

    L_i = sum_{t0,t1} share[s,t0] P[s,t0,t1] reads_i[t0,t1,r0,r1] hazard[c,g,t1](t)^d
                      exp(-(H[g,t1](t) - H[g,t1](e)))

    share[s,.], P[s,t0,.]   true classes: ``transition.rows``
    reads_i                 M[a0,t0,r0] M[a1,t1,r1], a0 and a1 the assays of the two samples; errors
                            made together as in ``transition.assay``, M[.,.,set] summed over it
    hazard[c,g,t1]          piecewise exponential by true class t1 (and t0) and factors g:
                            ``survival.parts``; H is its integral over all causes
    log L                   = sum_i log L_i, patients alike counted once

The true classes are summed out: no indicator is sampled. ``share`` and P are those of the patients
under observation; with delayed entry they are taken to be the same whenever a patient entered.
A patient without follow-up gives its readings only (t = e), one without a reading its survival: the
sum over all classes.

What identifies it. Pairs of readings fit equally well with a good assay and much change or a worse
assay and less. The prior of M, agreement of two readings of one tumour, and survival, where it
differs between true classes, are what tells them apart; of survival by a class that is rarely read
right only the prior speaks. Errors of M are the same for every patient of an assay, whatever
becomes of the patient (non-differential: Luo 2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import places
from her2bayes.bayes.prior import Prior, complete
from her2bayes.survival.parts import informed, parts, term, variable
from her2bayes.survival.survival import DEFAULT_PRIORS as OF_SURVIVAL
from her2bayes.transition.assay import DEFAULT_PRIORS as OF_READINGS
from her2bayes.transition.assay import (
    OF_PRIMARY,
    fixed_reads,
    observe_agreement,
    on_diagonal,
    read_rows,
    read_twice,
    uncertain_reads,
)
from her2bayes.transition.rows import coordinates, logistic_rows, primary_shares, strata_design

DEFAULT_PRIORS = {
    **OF_READINGS,
    **{name: one for name, one in OF_SURVIVAL.items() if name != "interval_log_hazard"},
}

CLASSES = ("her2_primary", "her2")
"""Dims of the true class of the primary and of the recurrence."""


def build(
    data: Mapping[str, xr.Dataset],
    priors: Mapping[str, Prior] | None = None,
    *,
    reads: Mapping[str, tuple[float, ...]] | None = None,
    **options: Any,
) -> Any:
    """Model of the counts of ``joint.counts``: ``cells``, ``readings``, ``rows``, ``assay``.

    ``assay`` may hold ``misclassification`` (her2, read), which fixes M; ``agreement``
    (agreement_study, first, second), two readings of the same tumours; ``error_correlation`` and
    ``agreement_correlation`` (default 0). ``reads`` gives Dirichlet rows of classes without a
    default prior; ``options`` are those of ``survival.parts``. Raises ``BadInput``.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS)
    data = _padded(data)
    readings, assay = data["readings"], data["assay"]
    her2 = [str(name) for name in readings["her2"].values]
    strata = strata_design(readings, _pairs(readings))
    with pm.Model(coords=_coords(data, strata, her2), check_bounds=False) as model:
        flow = primary_shares(priors) * logistic_rows(strata, her2, priors)
        if "misclassification" in assay:
            matrix = fixed_reads(assay)
        else:
            row = read_rows(her2, priors, reads or {})
            matrix = uncertain_reads(np.stack([row] * assay.sizes["assay"]), ("assay",))
        first, second = (_at(matrix, f"assay_{end}", readings) for end in ENDS)
        first = first.rename(OF_PRIMARY)
        read = read_twice(first, second, assay.get("error_correlation"), "error_correlation")
        read = read * _data("holds_primary", readings) * _data("holds_recurrence", readings)
        read = read.sum(("read_primary", "read"))
        share = _at(flow, "place", readings) * read
        _observe_patients(data, share, _log_hazard(data["cells"], priors, options))
        if "agreement" in assay:
            same = _at(matrix, "agreement_assay", assay)
            c = assay.get("agreement_correlation")
            same = read_twice(same.rename(OF_PRIMARY), same, c, "agreement_correlation")
            observe_agreement(assay, on_diagonal(same, len(her2)))
    return model


def _padded(data: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Data with cells of readings and rows of nobody, which give cohorts alike one shape."""
    readings, rows = data["readings"], data["rows"]
    number = rows.sizes["row"]
    eighth = max(places(number, 16) // 16, 1)
    more = {
        "reading_cell": (
            0,
            places(readings.sizes["reading_cell"], 32) - readings.sizes["reading_cell"],
        )
    }
    texts = [name for name in readings.coords if readings[name].dims == ("reading_cell",)]
    holds = dict.fromkeys(("holds_primary", "holds_recurrence"), 1.0)
    wide = readings.drop_vars(texts).pad(more, constant_values={
        name: holds.get(str(name), 0) for name in readings.data_vars})  # fmt: skip
    long = rows.pad({"row": (0, -number % eighth)}, constant_values=0)
    return {**data, "readings": wide, "rows": long}


def _log_hazard(cells: xr.Dataset, priors: Mapping[str, Prior], options: Mapping[str, Any]) -> Any:
    """Log hazard of every cell of true classes, factors and intervals."""
    import pymc.dims as pmd

    lead = ("cause",) if "cause" in cells["events"].dims else ()
    everywhere = xr.zeros_like(cells["events"], dtype=float)
    everywhere = everywhere.drop_vars(list(everywhere.coords))
    log_hazard = variable("reference_log_hazard", priors, dims=lead)
    log_hazard = log_hazard + pmd.math.as_xtensor(everywhere.values, dims=everywhere.dims)
    for part in informed(cells, parts(cells, **options)):
        log_hazard = log_hazard + term(part, priors, lead)
    return log_hazard


def _observe_patients(data: Mapping[str, xr.Dataset], share: Any, log_hazard: Any) -> None:
    """Add the log likelihood of all patients.

    ``share`` (reading_cell, her2_primary, her2) is the probability of true classes and readings.
    """
    import pymc as pm
    import pymc.dims as pmd

    cells, rows = data["cells"], data["rows"]
    classes = [dim for dim in CLASSES if dim in cells["events"].dims]
    share = share.sum([dim for dim in CLASSES if dim not in classes])
    lead = [dim for dim in cells["events"].dims if dim == "cause"]
    group = [str(d) for d in cells["person_months"].dims if d not in classes]
    at_exit = _data("event", rows) * _at(_flat([*lead, *group], log_hazard), "event_place", rows)
    hazard = pmd.math.exp(log_hazard)
    hazard = hazard.sum("cause") if lead else hazard
    width = (cells["interval_end"] - cells["interval_start"]).values
    before = np.triu(np.repeat(width[:, None], len(width), axis=1), 1)
    before = pmd.Data("months_before", xr.DataArray(before, dims=("interval", "later")))
    log_density = at_exit - _cumulative("exit", hazard, before, group, rows)
    if "entry_place" in rows:
        log_density = log_density + _cumulative("entry", hazard, before, group, rows)
    chance = _at(share, "reading_cell", rows)
    largest = reduce(pmd.math.maximum, _each(log_density, classes))
    inside = (chance * pmd.math.exp(log_density - largest)).sum(classes)
    log_likelihood = (_data("patients", rows) * (largest + pmd.math.log(inside))).sum()
    pm.Potential("of_patients", log_likelihood.values)


def _cumulative(end: str, hazard: Any, before: Any, group: Sequence[str], rows: xr.Dataset) -> Any:
    """Cumulative hazard (row, classes) at the exit or entry of each row.

    ``before`` (interval, later): months spent in an interval by the start of a later one.
    """
    reached = (hazard * before).sum("interval").rename({"later": "interval"})
    reached, rate = (_at(_flat(group, one), f"{end}_place", rows) for one in (reached, hazard))
    return reached + rate * _data(f"{end}_months", rows)


def _flat(dims: Sequence[str], values: Any) -> Any:
    """``values`` with all of ``dims`` laid out along one, ``hazard``."""
    if len(dims) == 1:
        return values.rename({dims[0]: "hazard"})
    return values.stack({"hazard": list(dims)})


def _each(values: Any, dims: Sequence[str]) -> list[Any]:
    """Values at every combination of the places of ``dims``."""
    import pymc as pm

    places = [range(len(pm.modelcontext(None).coords[dim])) for dim in dims]
    return [values.isel(dict(zip(dims, one, strict=True))) for one in product(*places)]


def _data(name: str, of: xr.Dataset) -> Any:
    """An array of the contract as a data variable, without its labels."""
    import pymc.dims as pmd

    array = of[name].drop_vars(list(of[name].coords))
    return pmd.Data(name, array.astype(float))


def _at(values: Any, place: str, of: xr.Dataset) -> Any:
    """Entries of ``values`` at the places ``of[place]``, along the dim that has its places."""
    import pymc as pm
    import pymc.dims as pmd

    dim = DIM_OF_PLACE.get(place, place)
    if dim not in values.type.dims:
        return values
    model, name = pm.modelcontext(None), f"{place}_index"
    index = of[place].drop_vars(list(of[place].coords))
    known = model[name] if name in model.named_vars else pmd.Data(name, index)
    return values.isel({dim: known})


ENDS = ("primary", "recurrence")
DIM_OF_PLACE = {
    "assay_primary": "assay", "assay_recurrence": "assay", "agreement_assay": "assay",
    "place": "stratum", "event_place": "hazard", "exit_place": "hazard", "entry_place": "hazard",
}  # fmt: skip
"""Dim whose places an array of the contract holds, where it is called otherwise."""


def _pairs(readings: xr.Dataset) -> np.ndarray:
    """Patients of each stratum."""
    size = readings.sizes["stratum"]
    return np.bincount(readings["place"], weights=readings["patients"], minlength=size)


def _coords(
    data: Mapping[str, xr.Dataset], strata: xr.Dataset, her2: list[str]
) -> dict[str, list[Any]]:
    """Labels of all dims; rows, and cells of readings, have numbers."""
    cells, assay = data["cells"], data["assay"]
    sizes = {"row": data["rows"].sizes["row"], **data["readings"].sizes}
    sizes["later"] = cells.sizes["interval"]
    found: dict[str, list[Any]] = coordinates(strata, her2)
    found |= {str(dim): cells[dim].values.tolist() for dim in cells["events"].dims}
    found |= {"read": her2, "read_primary": her2}
    found |= {dim: list(range(sizes[dim])) for dim in ("row", "reading_cell", "later")}
    found |= {"error": [str(place) for place in range(len(her2) - 1)]}
    found |= {str(dim): assay[dim].values.tolist() for dim in ("assay", "agreement_study")
              if dim in assay.dims}  # fmt: skip
    return found
