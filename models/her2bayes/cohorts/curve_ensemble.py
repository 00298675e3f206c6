"""An ensemble of reconstructed data sets by arm: made, compared with its figure, written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.cohorts.curve import FINEST, Curve, read_curve, reconstruct_with_error
from her2bayes.cohorts.quality import Patients, hazard_ratios, match, median_is_flat
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.digitised import DigitisedArm
from her2bayes.files import note


@dataclass(frozen=True)
class Ensemble:
    """Members by arm, how they match the figure, and hazard ratios against the first arm."""

    members: Mapping[str, Sequence[Patients]]
    match: pd.DataFrame
    hazard_ratios: pd.DataFrame
    flat_medians: tuple[str, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def patients(self) -> pd.DataFrame:
        """All data sets in one table: member, arm, time (as read), event (0 or 1)."""
        parts = [
            pd.DataFrame({"member": i, "arm": arm, "time": time, "event": event.astype(np.int8)})
            for arm, members in self.members.items()
            for i, (time, event) in enumerate(members, 1)
        ]
        table = pd.concat(parts, ignore_index=True)
        table.attrs = {"her2bayes": "ensemble", "members": int(table["member"].max())}
        return table

    def summary(self) -> str:
        """What a reader must know first, one line an arm and a comparison."""
        lines = [*self.notes]
        for arm, rows in self.match.groupby("arm", sort=False):
            flat = "; the median is unstable: the curve is flat there" if self._is_flat(arm) else ""
            low, high = rows["events"].min(), rows["events"].max()
            counted = f"{low}" if low == high else f"{low} to {high}"
            lines.append(
                f"{arm}: {rows['patients'].iloc[0]} patients, {counted} events, median "
                f"{_span(rows['median'])}, RMSE of survival {rows['rmse'].mean():.4f}, "
                f"numbers at risk missed by {rows['at_risk_mismatch'].max()}{flat}"
            )
            lines += self._reading_error(str(arm))
        for row in self.hazard_ratios.itertuples():
            lines.append(
                f"hazard ratio {row.arm} against {row.reference}: {row.hazard_ratio:.2f} "
                f"({row.lower:.2f}-{row.upper:.2f}); of its standard error {row.within:.3f}, "
                f"the reconstruction adds {row.between:.3f}"
            )
        return "\n".join(lines)

    def _reading_error(self, arm: str) -> list[str]:
        curve = self.curves.get(arm)
        if curve is None:
            return []
        error = "none" if curve.sigma <= FINEST else f"{curve.sigma:.2g} of survival"
        return [f"{arm}: reading error {error} (standard deviation), from {curve.error_from}"]

    def _is_flat(self, arm: object) -> bool:
        return arm in self.flat_medians


def _span(values: pd.Series) -> str:
    if np.isinf(values).any():
        return "not reached in some members" if np.isfinite(values).any() else "not reached"
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{values.median():.1f} ({low:.1f}-{high:.1f} over members)"


def reconstruct_arms(arms: Mapping[str, DigitisedArm], members: int, seed: int) -> Ensemble:
    """Reconstruct every arm; arms draw from seeds of their own, so their order does not matter."""
    made, flat, tables, curves = {}, [], [], {}
    for name, arm in arms.items():
        own_seed = int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0])
        curves[name], made[name] = reconstruct_with_error(
            read_curve(arm.time, arm.survival),
            arm.risk_time,
            arm.at_risk,
            censored=arm.censored,
            events=arm.events,
            members=members,
            seed=own_seed,
        )
        table = match(arm, made[name])
        tables.append(table.assign(reading_error=curves[name].sigma))
        if median_is_flat(made[name], curves[name].sigma):
            flat.append(name)
    ratios = hazard_ratios(made) if len(made) > 1 and members > 1 else pd.DataFrame()
    notes = tuple(dict.fromkeys(note for arm in arms.values() for note in arm.notes))
    return Ensemble(made, pd.concat(tables, ignore_index=True), ratios, tuple(flat), curves, notes)


def write(ensemble: Ensemble, folder: Path) -> list[Path]:
    """Write patients.parquet, match.csv and hazard_ratios.csv; each appears whole or not at all."""
    tables = {"patients.parquet": ensemble.patients(), "match.csv": ensemble.match}
    if len(ensemble.hazard_ratios):
        tables["hazard_ratios.csv"] = ensemble.hazard_ratios
    return write_tables(tables, folder)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write tables by file name into a folder; raises ``BadInput`` where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write_whole(table, folder / name) for name, table in tables.items()]
    except OSError as error:
        raise BadInput(
            Fault(
                f"cannot write here: {error.strerror or error}",
                file=folder,
                remedy="give a folder that can be written and has space",
            )
        ) from error


def _write_whole(table: pd.DataFrame, path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".parquet":
                table.to_parquet(file, index=False)  # with table.attrs as metadata
            else:
                file.write(table.to_csv(index=False).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    note([path])
    return path
