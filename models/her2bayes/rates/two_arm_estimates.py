"""Adverse events of two arms: probability of no difference, rates and differences by event.

Exchanging the arms mirrors every answer exactly: the model is symmetric, and the arms are put into
one order before they are fitted. The event "any" is not one of the events: its rates are two
binomials with uniform priors, their difference is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical.association import variants
from her2bayes.classical.multiplicity import adjusted
from her2bayes.classical.proportions import interval, newcombe, percent_row
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.adverse_events import ANY, NO_SYSTEM, at_risk_faults
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import ExactFit, Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.rates import adverse_events_two_arms as model
from her2bayes.rates.classical import barnard, boschloo
from her2bayes.rates.cohort_shares import shares_fit
from her2bayes.rates.exact_rows import exact_row
from her2bayes.rates.lattice import Rate, beta, lattice
from her2bayes.rates.rate_exact import RateDifference

CAREFUL = 0.99


@dataclass(frozen=True)
class Arms:
    """Counts (dims arm, event) by severity: of the single events, and of any event at all."""

    single: Mapping[str, xr.Dataset]
    whole: Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Result:
    """Counts, fits by severity; ``differences`` has one row an event, any event at all first."""

    study: str
    arms: Arms
    fits: Mapping[str, Fit]
    shares: ExactFit
    differences: pd.DataFrame
    estimates: pd.DataFrame
    classical: pd.DataFrame


def read(rows: pd.DataFrame, file: Path) -> Arms:
    """Counts by severity from rows with ``arm`` (the control first), ``event``, ``severity``.

    Raises ``BadInput`` for more than two arms, an event missing in one of them, nobody at risk, and
    severe events above those of any severity.
    """
    arms = list(dict.fromkeys(rows["arm"]))
    if len(arms) != 2 or "" in arms:
        allowed, remedy = "two names, one in every row", "name the arm in every row; keep two arms"
        raise_if([Fault("arms", file, None, "arm", ", ".join(arms), allowed, remedy)])
    whole = rows["event"] == ANY
    faults = [*_missing(rows, arms, file), *at_risk_faults(rows, file), *_above_any(rows, file)]
    raise_if(faults)
    return Arms(*(_by_severity(part, arms) for part in (rows[~whole], rows[whole])))


def _missing(rows: pd.DataFrame, arms: list[str], file: Path) -> Iterator[Fault]:
    known = set(zip(rows["arm"], rows["event"], rows["severity"], strict=True))
    for event, severity in dict.fromkeys(zip(rows["event"], rows["severity"], strict=True)):
        for arm in arms:
            if (arm, event, severity) not in known:
                problem = f"{event}, severity {severity}, is not counted in the arm {arm}"
                remedy = "add the row, with count 0 where nobody had it"
                yield Fault(problem, file, None, "event", event, remedy=remedy)


def _above_any(rows: pd.DataFrame, file: Path) -> Iterator[Fault]:
    low = rows[rows["severity"] == ANY].set_index(["arm", "event"])["count"].to_dict()
    for row in rows[rows["severity"] != ANY].to_dict("records"):
        most = low.get((row["arm"], row["event"]))
        if most is not None and row["count"] > most:
            problem = f"{row['event']}: more patients with {row['severity']} than with any severity"
            yield Fault(problem, file, int(row["row"]), "count", int(row["count"]), f"0 to {most}",
                        "correct one of the two counts")  # fmt: skip


def _by_severity(rows: pd.DataFrame, arms: list[str]) -> dict[str, xr.Dataset]:
    return {
        str(severity): _dataset(
            part.set_index(["arm", "event"]), arms, list(dict.fromkeys(part["event"]))
        )
        for severity, part in rows.groupby("severity", sort=False)
    }


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
    arms: Arms,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Fit each severity; estimate rates by arm, differences and probabilities of no difference."""
    careful = replace(sampling, target_accept=max(sampling.target_accept, CAREFUL))
    shares = shares_fit(_cells(arms.whole))
    fits, rows, tables = {}, list[dict[str, Any]](), []
    for severity, table in arms.whole.items():
        rows += _whole_rows(severity, table, shares)
        tables.append(_whole_difference(severity, table))
    for severity, table in arms.single.items():
        say(f"adverse events of two arms, {severity}")
        turned = _turned(table)
        ordered = table.isel(arm=[1, 0]) if turned else table
        done = fits[severity] = fit(model.build, ordered, sampling=careful, store=store)
        after = _rates(done.posterior, sampling.seed, turned)
        before = _rates_before(done.prior, table, sampling, turned)
        rows += _rows(severity, table, done, after, before)
        tables.append(_differences(severity, table, done, after))
    both = [*arms.whole.items(), *arms.single.items()]
    classical = [row for severity, table in both for row in _classical(severity, table)]
    return Result(
        name,
        arms,
        fits,
        shares,
        pd.concat(tables, ignore_index=True),
        estimates_table(rows),
        pd.DataFrame(classical),
    )


def _turned(table: xr.Dataset) -> bool:
    """Whether the arms are fitted in the other order: that of their counts, whatever their names.

    Both orders of a table are then one fit, with the same draws.
    """
    first, second = (
        [v for name in ("patients", "count") for v in table[name].values[place].tolist()]
        for place in (0, 1)
    )
    return second < first


def _rates(
    draws: xr.Dataset, seed: int, turned: bool, same: xr.DataArray | None = None
) -> xr.Dataset:
    """Draws of the rate in each arm; equal with probability ``same``."""
    share = draws["same"] if same is None else same
    equal = np.random.default_rng(seed).uniform(size=share.shape) < share
    places = (1, 0) if turned else (0, 1)
    return xr.Dataset({
        role: draws["rate_same"].where(equal, draws["rate_different"].isel(arm=place, drop=True))
        for role, place in zip(_ROLES, places, strict=True)
    })  # fmt: skip


def _rates_before(
    draws: xr.Dataset, table: xr.Dataset, sampling: Sampling, turned: bool
) -> xr.Dataset:
    systems = table["body_system"].values
    same = draws["same_prior"].sel(system=list(systems)).rename(system="event")
    same = same.assign_coords(event=draws["event"].values).transpose(*draws["same"].dims)
    return _rates(draws, sampling.seed + 1, turned, same)


def _cells(whole: Mapping[str, xr.Dataset]) -> dict[str, tuple[int, int]]:
    return {
        f"any event, {arm}, {severity}": cell
        for severity, table in whole.items()
        for arm, cell in zip(map(str, table["arm"].values), _pairs(table, 0), strict=True)
    }


def _pairs(table: xr.Dataset, place: int) -> list[tuple[int, int]]:
    """Count and patients of one event in the two arms."""
    return [
        (int(table["count"].values[k, place]), int(table["patients"].values[k, place]))
        for k in (0, 1)
    ]


def _uniform(table: xr.Dataset) -> tuple[list[Rate], list[Rate]]:
    """Rates of any event in the two arms, after and before, uniform priors."""
    cells = _pairs(table, 0)
    before = beta(1, 1, lattice(max(patients for _, patients in cells)))
    return [before.updated(*cell) for cell in cells], [before, before]


def _whole_rows(severity: str, table: xr.Dataset, shares: ExactFit) -> Iterator[dict[str, Any]]:
    control, treated = map(str, table["arm"].values)
    after, before = _uniform(table)
    for arm, cell, posterior, prior in zip(
        (control, treated), _pairs(table, 0), after, before, strict=True
    ):
        asked = Estimand("event_rate", ANY, (("arm", arm), ("severity", severity)))
        note = f"{cell[0]} of {cell[1]}; Beta(1, 1) prior"
        yield exact_row(asked, posterior, prior, shares, note=note)
    asked = Estimand("event_rate_difference", ANY, (("severity", severity),),
                     Contrast("arm", treated, control))  # fmt: skip
    gap, gap_before = (RateDifference(one[1], one[0]) for one in (after, before))
    yield exact_row(asked, gap, gap_before, shares, event=lambda d: float(1 - d.cdf(0.0)),
                    note="two Beta(1, 1) priors; P(difference > 0)")  # fmt: skip


def _whole_difference(severity: str, table: xr.Dataset) -> pd.DataFrame:
    """The row of ``differences`` of any event at all: alone, so that no P is adjusted."""
    after, _ = _uniform(table)
    fewer = float(RateDifference(after[1], after[0]).cdf(0.0))
    one, other = _pairs(table, 0)
    return _counted(severity, table).assign(
        no_difference=np.nan,  # no point mass here
        more_in_treated=1 - fewer,
        fewer_in_treated=fewer,
        fisher_p=_fisher(table, 0),
        benjamini_hochberg_p=np.nan,
        barnard_p=barnard(*other, *one),
        boschloo_p=boschloo(*other, *one),
    )


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
    higher, lower = (
        (after[a] > after[b]).mean(("chain", "draw")).values
        for a, b in (("treated", "control"), ("control", "treated"))
    )
    fisher = [_fisher(table, place) for place in range(table.sizes["event"])]
    return _counted(severity, table).assign(
        no_difference=1 - higher - lower,
        more_in_treated=higher,
        fewer_in_treated=lower,
        fisher_p=fisher,
        benjamini_hochberg_p=adjusted(fisher, "Benjamini-Hochberg"),
    )


def _counted(severity: str, table: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "severity": severity,
            "body_system": table["body_system"].values,
            "event": table["event"].values,
            **{f"{role}_count": table["count"].values[k] for k, role in enumerate(_ROLES)},
            **{f"{role}_patients": table["patients"].values[k] for k, role in enumerate(_ROLES)},
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
        cells = _pairs(table, place)
        for arm, cell in zip((control, treated), cells, strict=True):
            asked = Estimand("event_rate", event, (("arm", arm), ("severity", severity)))
            bounds = interval(*cell, "Wilson")
            yield percent_row(
                asked, "percentage", cell[0] / cell[1], *bounds, "95 % interval: Wilson"
            )
        contrast = Contrast("arm", treated, control)
        asked = Estimand("event_rate_difference", event, (("severity", severity),), contrast)
        value = cells[1][0] / cells[1][1] - cells[0][0] / cells[0][1]
        bounds = newcombe(*cells[1], *cells[0])
        method = "95 % interval: Newcombe, method 10; P: Fisher's exact test"
        row = percent_row(asked, asked.kind, value, *bounds, method)
        yield {**row, "reproduced_p": _fisher(table, place)}
