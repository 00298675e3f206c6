"""Adverse events of two arms: probability of no difference, rates and differences by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes import adverse_events_two_arms as model
from her2bayes.classical.association import variants
from her2bayes.classical.multiplicity import adjusted
from her2bayes.classical.proportions import interval, newcombe
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.adverse_events import ANY, NO_SYSTEM
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.posterior.estimates import estimate, estimates_table

CAREFUL = 0.99


@dataclass(frozen=True)
class Result:
    """Counts (dims arm, event) and fits by severity; ``differences`` has one row an event."""

    study: str
    counts: Mapping[str, xr.Dataset]
    fits: Mapping[str, Fit]
    differences: pd.DataFrame
    estimates: pd.DataFrame
    classical: pd.DataFrame


def read(rows: pd.DataFrame, file: Path) -> dict[str, xr.Dataset]:
    """Counts by severity from rows with ``arm`` (the control first), ``event``, ``severity``.

    The event "any" is left out: it is not one of the events. Raises ``BadInput`` for more than two
    arms, an event missing in one of them, and severe events above those of any severity.
    """
    arms = list(dict.fromkeys(rows["arm"]))
    if len(arms) != 2 or "" in arms:
        raise_if([Fault("arms", file, None, "arm", ", ".join(arms), "two names, one in every row",
                        "name the arm in every row, the control first")])  # fmt: skip
    single = rows[rows["event"] != ANY]
    found = {}
    faults: list[Fault] = []
    for severity, part in single.groupby("severity", sort=False):
        events = list(dict.fromkeys(part["event"]))
        table = part.set_index(["arm", "event"])
        for arm in arms:
            missing = [event for event in events if (arm, event) not in table.index]
            faults += [
                Fault(f"{event} is not counted in the arm {arm}", file, None, "event", event,
                      remedy="add the row, with count 0 where nobody had it")
                for event in missing
            ]  # fmt: skip
        if not faults:
            found[str(severity)] = _dataset(table, arms, events)
    faults += _above_any(single, file)
    raise_if(faults)
    return found


def _above_any(rows: pd.DataFrame, file: Path) -> Iterator[Fault]:
    low = rows[rows["severity"] == ANY].set_index(["arm", "event"])["count"].to_dict()
    for row in rows[rows["severity"] != ANY].to_dict("records"):
        most = low.get((row["arm"], row["event"]))
        if most is not None and row["count"] > most:
            problem = f"{row['event']}: more patients with {row['severity']} than with any severity"
            yield Fault(problem, file, int(row["row"]), "count", int(row["count"]), f"0 to {most}",
                        "correct one of the two counts")  # fmt: skip


def _dataset(table: pd.DataFrame, arms: list[str], events: list[str]) -> xr.Dataset:
    def column(name: str) -> np.ndarray:
        return np.array([[table.loc[(arm, event), name] for event in events] for arm in arms])

    systems = [str(table.loc[(arms[0], event), "body_system"]) or NO_SYSTEM for event in events]
    return xr.Dataset(
        {name: (("arm", "event"), column(name).astype(np.int64)) for name in ("count", "patients")},
        coords={"arm": arms, "event": events, "body_system": ("event", systems)},
    )


def run(
    name: str,
    counts: Mapping[str, xr.Dataset],
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Fit each severity; estimate rates by arm, differences and probabilities of no difference."""
    careful = replace(sampling, target_accept=max(sampling.target_accept, CAREFUL))
    fits, rows, tables = {}, list[dict[str, Any]](), []
    for severity, table in counts.items():
        say(f"adverse events of two arms, {severity}")
        done = fits[severity] = fit(model.build, table, sampling=careful, store=store)
        drawn = _rates(done.posterior, sampling.seed), _rates_before(done.prior, table, sampling)
        rows += _rows(severity, table, done, *drawn)
        tables.append(_differences(severity, table, done, drawn[0]))
    classical = [row for severity, table in counts.items() for row in _classical(severity, table)]
    return Result(
        name,
        counts,
        fits,
        pd.concat(tables, ignore_index=True),
        estimates_table(rows),
        pd.DataFrame(classical),
    )


def _rates(draws: xr.Dataset, seed: int, same: xr.DataArray | None = None) -> xr.Dataset:
    """Draws of the rate in each arm; equal with probability ``same``."""
    share = draws["same"] if same is None else same
    equal = np.random.default_rng(seed).uniform(size=share.shape) < share
    treated = draws["rate_control"].where(equal, draws["rate_different"])
    return xr.Dataset({"control": draws["rate_control"], "treated": treated})


def _rates_before(draws: xr.Dataset, table: xr.Dataset, sampling: Sampling) -> xr.Dataset:
    systems = table["body_system"].values
    same = draws["same_prior"].sel(system=list(systems)).rename(system="event")
    same = same.assign_coords(event=draws["event"].values).transpose(*draws["same"].dims)
    return _rates(draws, sampling.seed + 1, same)


def _rows(
    severity: str, table: xr.Dataset, done: Fit, after: xr.Dataset, before: xr.Dataset
) -> Iterator[dict[str, Any]]:
    control, treated = map(str, table["arm"].values)
    names = {control: "control", treated: "treated"}
    for event in map(str, table["event"].values):
        one, other = (d.sel(event=event, drop=True) for d in (after, before))
        for arm, key in names.items():
            asked = Estimand("event_rate", event, (("arm", arm), ("severity", severity)))
            yield estimate(asked, _plain(one[key]), _plain(other[key]), done)
        gap, gap_before = (_plain(d["treated"] - d["control"]) for d in (one, other))
        contrast = Contrast("arm", treated, control)
        asked = Estimand("event_rate_difference", event, (("severity", severity),), contrast)
        note = "P(difference > 0), a difference of exactly 0 not counted"
        yield estimate(asked, gap, gap_before, done, event=lambda d: d > 0, note=note)


def _plain(draws: xr.DataArray) -> xr.DataArray:
    return draws.drop_vars([n for n in draws.coords if n not in ("chain", "draw")])


def _differences(severity: str, table: xr.Dataset, done: Fit, after: xr.Dataset) -> pd.DataFrame:
    """One row an event: probability of no difference, of more and of fewer events, P adjusted."""
    higher = (after["treated"] > after["control"]).mean(("chain", "draw")).values
    same = done.posterior["same"].mean(("chain", "draw")).values
    fisher = [_fisher(table, place) for place in range(table.sizes["event"])]
    return pd.DataFrame(
        {
            "severity": severity,
            "body_system": table["body_system"].values,
            "event": table["event"].values,
            **{f"{role}_count": table["count"].values[k] for k, role in enumerate(_ROLES)},
            **{f"{role}_patients": table["patients"].values[k] for k, role in enumerate(_ROLES)},
            "no_difference": same,
            "more_in_treated": higher,
            "fewer_in_treated": 1 - same - higher,
            "fisher_p": fisher,
            "benjamini_hochberg_p": adjusted(fisher, "Benjamini-Hochberg"),
        }
    )


_ROLES = ("control", "treated")


def _fisher(table: xr.Dataset, place: int) -> float:
    count, patients = (table[name].values[:, place] for name in ("count", "patients"))
    cells = np.column_stack([count, patients - count])
    return variants(cells, ["Fisher exact"])[0].p_value if cells.sum(axis=0).all() else 1.0


def _classical(severity: str, table: xr.Dataset) -> Iterator[dict[str, Any]]:
    control, treated = map(str, table["arm"].values)
    for place, event in enumerate(map(str, table["event"].values)):
        cells = [
            (int(table["count"].values[k, place]), int(table["patients"].values[k, place]))
            for k in (0, 1)
        ]
        for arm, cell in zip((control, treated), cells, strict=True):
            asked = Estimand("event_rate", event, (("arm", arm), ("severity", severity)))
            bounds = interval(*cell, "Wilson")
            yield _row(asked, cell[0] / cell[1], bounds, "95 % interval: Wilson")
        contrast = Contrast("arm", treated, control)
        asked = Estimand("event_rate_difference", event, (("severity", severity),), contrast)
        value = cells[1][0] / cells[1][1] - cells[0][0] / cells[0][1]
        bounds = newcombe(*cells[1], *cells[0])
        method = "95 % interval: Newcombe, method 10; P: Fisher's exact test"
        yield {**_row(asked, value, bounds, method), "reproduced_p": _fisher(table, place)}


def _row(asked: Estimand, value: float, bounds: tuple[float, float], method: str) -> dict[str, Any]:
    return {
        "estimand": str(asked),
        "statistic": "percentage" if asked.kind == "event_rate" else asked.kind,
        "reproduced": 100 * value,
        "reproduced_lower": 100 * bounds[0],
        "reproduced_upper": 100 * bounds[1],
        "method": method,
        "unit": "%",
        "note": "",
    }
