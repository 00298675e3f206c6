"""Counts of the page's models of rates with a few patients counted otherwise."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.analysis.conclusion_target import Target
from her2bayes.analysis.scenarios import Scenario
from her2bayes.analysis.sensitivity_binomial import MOVED


def best(target: Target, of: Scenario, counts: xr.DataArray) -> xr.DataArray:
    """Patients moved over the border of the group, of a difference in its first level."""
    moved = int(of.get(MOVED, 0.0))
    categories = [str(c) for c in counts["category"].to_numpy()]
    inside = [c in target.data["members"] for c in categories]
    last = max(k for k, member in enumerate(inside) if member)
    after = [k for k in range(last, len(inside)) if not inside[k]]
    border = after[0] if after else max(k for k, member in enumerate(inside) if not member)
    source, to = (border, last) if moved > 0 else (last, border)
    row = _place(target, counts)
    values = counts.to_numpy().copy()
    number = min(abs(moved), int(values[row, source]))
    values[row, source] -= number
    values[row, to] += number
    return counts.copy(data=values)


def _place(target: Target, counts: xr.DataArray | xr.Dataset) -> int:
    """Row of the (first) level asked about; the only one of all patients."""
    asked = target.conclusions[0].estimand
    named = asked.contrast.a if asked.contrast else next((v for _, v in asked.given), "")
    return [str(v) for v in counts["level"].to_numpy()].index(named) if named else 0


def level(target: Target, of: Scenario) -> xr.Dataset:
    """Responders of the (first) level asked about."""
    counts: xr.Dataset = target.data["counts"]
    values, row = counts["responders"].to_numpy().copy(), _place(target, counts)
    patients = int(counts["patients"].to_numpy()[row])
    values[row] = np.clip(values[row] + int(of.get(MOVED, 0.0)), 0, patients)
    return counts.assign(responders=counts["responders"].copy(data=values))


def event(target: Target, of: Scenario) -> xr.Dataset:
    """Patients with the event asked about, at its severity; the other severity keeps its own."""
    counts: xr.Dataset = target.data["counts"]
    row = [str(v) for v in counts["event"].to_numpy()].index(target.conclusions[0].estimand.outcome)
    severe = target.data["members"] == ("severe",)
    name, low, high = ("severe", "", "any") if severe else ("any", "severe", "patients")
    least = int(counts[low].to_numpy()[row]) if low else 0
    values = counts[name].to_numpy().copy()
    most = int(counts[high].to_numpy()[row])
    values[row] = np.clip(values[row] + int(of.get(MOVED, 0.0)), least, most)
    changed = counts.assign({name: counts[name].copy(data=values)})
    if name == "any":
        graded = counts["severe_known"].to_numpy() & ~counts["by_definition"].to_numpy()
        changed = changed.assign(severe_of=("event", np.where(graded, values, 0)))
    return changed
