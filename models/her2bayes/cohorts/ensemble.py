"""An ensemble of cohorts behind a study's printed survival: made, checked, written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.cohorts.curve_ensemble import write_tables
from her2bayes.cohorts.diagnostics import diagnose
from her2bayes.cohorts.printed.design import Summary
from her2bayes.cohorts.printed.match import match, patients
from her2bayes.inference.convergence import CHAINS_AGREE, CHAINS_DISAGREE, LARGEST_RHAT, LEAST_ESS


@dataclass(frozen=True)
class SummaryEnsemble:
    """Cohorts, how each matches the print, and whether the chains agree."""

    summary: Summary
    chains: Sequence[Chain]
    cohorts: Sequence[pd.DataFrame]
    match: pd.DataFrame
    diagnostics: pd.DataFrame

    @property
    def agrees(self) -> bool:
        """Tell whether every monitored quantity has R-hat <= 1.05 and ESS >= 50."""
        table = self.diagnostics.dropna(subset=["rhat"])
        return bool(
            len(table)
            and (table["rhat"] <= LARGEST_RHAT).all()
            and (table["ess"] >= LEAST_ESS).all()
        )

    @property
    def verdict(self) -> str:
        """The same in words, as it travels with every number."""
        if self.agrees:
            return CHAINS_AGREE
        table = self.diagnostics.dropna(subset=["rhat"])
        if not len(table):
            return f"{CHAINS_DISAGREE}: one chain"
        worst = f"R-hat {table['rhat'].max():.2f}; ESS {table['ess'].min():.0f}"
        return f"{CHAINS_DISAGREE}: {worst}"

    def patients(self) -> pd.DataFrame:
        """All cohorts in one table, ``member`` counting from 1."""
        parts = [frame.assign(member=k) for k, frame in enumerate(self.cohorts, 1)]
        table = pd.concat(parts, ignore_index=True)
        return table[["member", *(c for c in table.columns if c != "member")]]

    def text(self) -> str:
        """What a reader must know first."""
        summary, table = self.summary, self.match
        met = table.groupby("member")["met"].all()
        seconds = sum(c.seconds for c in self.chains)
        numbers = len(table) // len(self.cohorts)
        lines = [
            f"{summary.study} {summary.endpoint}: {len(self.cohorts)} cohorts of "
            f"{summary.patients} patients, {int(met.sum())} of them meet all "
            f"{numbers} printed numbers ({seconds:.0f} s of processor time)",
            "readings: " + ", ".join(f"{k} = {v}" for k, v in summary.readings.items() if v),
        ]
        lines += [f"left out: {claim}, {why}" for claim, why in summary.left_out]
        worst = self.diagnostics.dropna(subset=["rhat"])
        if len(worst):
            verdict = "agree" if self.agrees else "DISAGREE (give more --sweeps)"
            lines.append(
                f"chains {verdict}: largest R-hat {worst['rhat'].max():.2f}, "
                f"least effective sample size {worst['ess'].min():.0f}"
            )
        for row in self.diagnostics.head(4).itertuples():
            lines.append(f"{row.quantity}: {row.mean:.3g} (sd over cohorts {row.sd:.2g})")
        return "\n".join(lines)


def ensemble_of(summary: Summary, chains: Sequence[Chain], number: int) -> SummaryEnsemble:
    """An ensemble of members spread over chains, matched and judged."""
    cohorts = [patients(summary, chains[c], d) for c, d in members(chains, number)]
    return SummaryEnsemble(
        summary, chains, cohorts, match(summary, cohorts), diagnose(summary, chains)
    )


def verdict_of(draws: xr.DataArray) -> str:
    """Whether chains (chain, draw) agree about one quantity, by the rule for ensembles."""
    import arviz as az

    values = draws.transpose("chain", "draw").to_numpy()
    if len(values) < 2 or not values.std() > 0:
        return CHAINS_AGREE if not values.std() > 0 else f"{CHAINS_DISAGREE}: one chain"
    rhat, ess = float(az.rhat(values)), float(az.ess(values))
    reasons = [f"R-hat {rhat:.2f}"] if not rhat <= LARGEST_RHAT else []
    reasons += [f"ESS {ess:.0f}"] if not ess >= LEAST_ESS else []
    return f"{CHAINS_DISAGREE}: {'; '.join(reasons)}" if reasons else CHAINS_AGREE


def write(ensemble: SummaryEnsemble, folder: Path) -> list[Path]:
    """Write patients.parquet, match.csv, diagnostics.csv; each appears whole or not at all."""
    runs = pd.DataFrame(
        [
            {
                "chain": k,
                "cohorts": chain.months.shape[0],
                "round_trips": chain.trips,
                "largest_refusal": float(np.max(chain.refusals)),
                "seconds": chain.seconds,
            }
            for k, chain in enumerate(ensemble.chains, 1)
        ]
    )
    stem = ensemble.summary.endpoint
    return write_tables(
        {
            f"{stem}_patients.parquet": ensemble.patients(),
            f"{stem}_match.csv": ensemble.match,
            f"{stem}_diagnostics.csv": ensemble.diagnostics,
            f"{stem}_chains.csv": runs,
        },
        folder,
    )
