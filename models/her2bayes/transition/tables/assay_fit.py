"""Fit of true classes to printed facts on readings, the assay taken as known.

    true_flow[s,i,j] = primary_share[s,i] transition[s,i,j]        rows as in ``table_fit``
    seen_flow[s,a,b] = sum_ij true_flow[s,i,j] M[i,a] M[j,b]       two readings, errors independent
    P(facts)         = sum over the tables of readings that agree with them of
                       prod_s Multinomial(table[s]; n[s], seen_flow[s])

M is the misclassification matrix. Nothing is solved for: a table that this assay makes improbable
weighs little, and true flows stay flows. ``inference.assay_chain`` samples tables, true pairs and
rows together, whatever the facts are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr

from her2bayes import __version__
from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault
from her2bayes.inference import digest
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.transition import her2_transition_dirichlet
from her2bayes.transition.design import parameters
from her2bayes.transition.rows import log_odds_mean, sd_scales
from her2bayes.transition.tables import fit, latent_table
from her2bayes.transition.tables.facts import TableSet
from her2bayes.transition.tables.fit import LOGISTIC, TableFit
from her2bayes.transition.tables.polytope import conflict
from her2bayes.transition.tables.sampler import (
    _STRATUM_SHARE,
    _chains,
    _components,
    _run_all,
    labelled,
)

MODEL = "latent_table_assay"
THIN = 10  # states between two kept ones: behind a poor assay they move slowly


def fit_true_rows(
    tables: TableSet,
    misclassification: xr.DataArray,
    priors: Mapping[str, Prior] | None = None,
    *,
    rows: str = LOGISTIC,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
    cores: int | None = None,
) -> TableFit:
    """Fit rows of true classes for a known assay ``misclassification`` (her2, read).

    ``priors`` and ``rows`` as in ``table_fit.fit_tables``. ``table`` holds readings, ``transition``
    and ``primary_share`` true classes. Raises ``BadInput`` for facts that contradict each other.
    """
    contradicting = conflict(tables)
    if contradicting:
        raise BadInput(Fault("no table agrees with these facts", value=", ".join(contradicting)))
    module = latent_table if rows == LOGISTIC else her2_transition_dirichlet
    priors = complete(priors, module.DEFAULT_PRIORS)
    order = list(tables.her2)
    reads = misclassification.sel(her2=order, read=order).transpose("her2", "read").to_numpy()
    identity = _identity(tables, reads, priors, rows, sampling)
    fit_id = digest.key(identity)
    if store is None:
        return _compute(tables, reads, priors, rows, sampling, identity, cores)
    with store.lock(fit_id):
        tree = store.load(MODEL, fit_id)
        if tree is None:
            fresh = _compute(tables, reads, priors, rows, sampling, identity, cores)
            store.save(MODEL, fit_id, fresh.tree)
            return fresh
    return TableFit(tree, json.loads(tree.attrs["provenance"]))


def _identity(
    tables: TableSet, reads: np.ndarray, priors: Mapping[str, Prior], rows: str, sampling: Sampling
) -> dict[str, Any]:
    labels = [list(map(list, stratum)) for stratum in tables.strata] + [tables.her2]
    data = {"form": tables.form, "lower": tables.lower, "upper": tables.upper,
            "labels": labels, "reads": reads}  # fmt: skip
    return {
        "model": MODEL,
        "package": __version__,
        "source": meaning(fit_true_rows),
        "data": digest.data_digest(data),
        "priors": {name: str(value) for name, value in sorted(priors.items())},
        "options": {"rows": rows, "thin": THIN},
        "sampling": asdict(sampling),
        "versions": digest.versions(),
    }


def _compute(
    tables: TableSet,
    reads: np.ndarray,
    priors: Mapping[str, Prior],
    rows: str,
    sampling: Sampling,
    identity: dict[str, Any],
    cores: int | None,
) -> TableFit:
    start = perf_counter()
    posterior = _sample(tables, reads, priors, rows, sampling, cores)
    # of rows and shares alone, hence the same as without an assay
    drawn = fit._logistic_prior if rows == LOGISTIC else fit._dirichlet_prior
    prior = drawn(tables, priors, sampling)
    method = "tables of readings and true classes sampled, assay known"
    seconds = {"all": round(perf_counter() - start, 2)}
    provenance = {"fit_id": digest.key(identity), **identity, "method": method, "seconds": seconds}
    groups = {"posterior": posterior, "sample_stats": xr.Dataset(), "prior": prior}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs["provenance"] = json.dumps(provenance)
    return TableFit(tree, provenance)


def _sample(
    tables: TableSet,
    reads: np.ndarray,
    priors: Mapping[str, Prior],
    rows: str,
    sampling: Sampling,
    cores: int | None,
) -> xr.Dataset:
    from her2bayes.transition.tables.assay_chain import run_assay

    k = len(tables.her2)
    share = float(parameters(priors, "primary_share", "Dirichlet")["a"])
    # primary shares are drawn, those of strata of unknown size integrated out
    kinds = [("cell", 0.0, 0.0), ("stratum", _STRATUM_SHARE, 0.0)]
    chains = _chains(tables, kinds, [1] * (k * k), [0] * k, sampling)
    names, levels, factor_of = _components(tables)
    concentration, odds = np.zeros((0, k)), (0.0, 1.0, np.zeros(len(names)))
    if rows == LOGISTIC:
        odds = (
            log_odds_mean(priors, k), float(priors["log_odds"]["sigma"]),
            np.array(sd_scales(priors, names), dtype=float),
        )  # fmt: skip
    else:
        concentration = her2_transition_dirichlet.concentration(priors, k)
    described = (k, *odds, factor_of, levels)

    def run(rng: np.random.Generator, start: np.ndarray) -> tuple[np.ndarray, ...]:
        kept: tuple[np.ndarray, ...] = run_assay(
            rng, start, chains.problem, np.ascontiguousarray(reads, dtype=float), described,
            concentration, share, sampling.tune, sampling.draws, THIN, 6 * chains.size,
        )  # fmt: skip
        return kept

    table, log_p, primary = (
        np.stack(part) for part in zip(*_run_all(run, chains, sampling, cores), strict=True)
    )
    shape = (sampling.chains, sampling.draws, *tables.shape)
    return labelled(tables, table.reshape(shape), np.exp(log_p).reshape(shape), primary)
