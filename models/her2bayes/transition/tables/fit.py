"""Fit of transition rows to printed facts: by exact mixture, listed tables, or sampled tables.

The way is chosen by size. Dirichlet rows: exact mixture up to ``MIXTURE_LIMIT`` tables. Logistic-
normal rows: NUTS on a likelihood that sums over all tables up to ``LISTED_LIMIT`` (grouped) tables.
Otherwise tables are sampled. The model is the same in each case, and so are the variables:
``transition``, ``table`` (stratum, her2_primary, her2), ``primary_share`` (stratum, her2_primary).

Exact posterior of transition rows given listed tables, where rows are independent Dirichlet.

    rows P_si ~ Dirichlet(a_i),  primary shares ~ Dirichlet(b, ..., b),  T_s ~ multinomial
    weight of T  =  prod_s n_s! / prod_ij T_sij!  x  prod_si B(a_i + T_si.) / B(a_i)  x  B(b + n_s.)
    P | facts    =  sum_T weight_T  prod_si Dirichlet(a_i + T_si.)                a finite mixture

With a = (1, 1, 1) and printed row totals all tables weigh the same, whatever the number of
patients; with a below 1 those with extreme rows weigh more. No sampling is involved.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import betainc, gammaln, logsumexp

from her2bayes import __version__
from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault
from her2bayes.inference import digest
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.transition import her2_transition_dirichlet
from her2bayes.transition.tables import latent_table, sampler
from her2bayes.transition.tables.facts import TableSet
from her2bayes.transition.tables.polytope import (
    TooManyTablesError,
    conflict,
    enumerate_sums,
    enumerate_tables,
    grouped_cells,
    listed_tables,
)


def table_weights(tables: np.ndarray, concentration: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Posterior probability of each table (table, stratum, primary, recurrence); they sum to 1.

    ``concentration`` (primary, recurrence) are the Dirichlet parameters of the rows, ``share`` that
    of the primary shares. The tables must be all that agree with the facts, each once.
    """
    row = tables.sum(axis=-1)
    size = row.sum(axis=-1)
    log_weight = (gammaln(tables + concentration) - gammaln(tables + 1.0)).sum(axis=(-3, -2, -1))
    log_weight += (gammaln(row + share) - gammaln(row + concentration.sum(-1))).sum(axis=(-2, -1))
    log_weight += (gammaln(size + 1.0) - gammaln(size + share * row.shape[-1])).sum(axis=-1)
    return np.asarray(np.exp(log_weight - logsumexp(log_weight)))


def mixture_moments(
    tables: np.ndarray, weight: np.ndarray, concentration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and standard deviation of every transition probability."""
    a = tables + concentration
    total = a.sum(axis=-1, keepdims=True)
    mean = np.tensordot(weight, a / total, 1)
    square = np.tensordot(weight, a * (a + 1) / (total * (total + 1)), 1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def mixture_cdf(
    value: np.ndarray, tables: np.ndarray, weight: np.ndarray, concentration: np.ndarray
) -> np.ndarray:
    """Posterior probability that each transition probability is at most ``value`` (same shape)."""
    a = tables + concentration
    rest = a.sum(axis=-1, keepdims=True) - a
    return np.asarray(np.tensordot(weight, betainc(a, rest, value), 1))


def mixture_draws(
    tables: np.ndarray,
    weight: np.ndarray,
    concentration: np.ndarray,
    share: float,
    number: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Independent draws: tables, transition (draw, stratum, primary, recurrence), shares."""
    table = tables[rng.choice(len(tables), size=number, p=weight)]
    row = rng.standard_gamma(table + concentration)
    primary = rng.standard_gamma(table.sum(axis=-1) + share)
    return table, row / row.sum(-1, keepdims=True), primary / primary.sum(-1, keepdims=True)


log = logging.getLogger(__name__)

MIXTURE_LIMIT = 100_000
LISTED_LIMIT = 100
LOGISTIC, DIRICHLET = "logistic-normal", "Dirichlet"
_PRIOR_DRAWS = 2000


class TableFit(Fit):
    """A fit whose draws hold whole tables; Hamiltonian steps only where tables are listed."""

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Divergences and E-BFMI where they exist; a Gibbs sampler or exact draws have none."""
        if self.tree["sample_stats"].to_dataset():
            return super().diagnostics
        sizes = self.posterior.sizes
        return Diagnostics(sizes["chain"], sizes["draw"], 0, np.inf)

    @property
    def method(self) -> str:
        """How the posterior was computed, in words."""
        return str(self.provenance["method"])


def fit_tables(
    tables: TableSet,
    priors: Mapping[str, Prior] | None = None,
    *,
    rows: str = LOGISTIC,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
    cores: int | None = None,
) -> TableFit:
    """Fit the rows of every stratum of ``tables``, or read the equal fit from ``store``.

    ``rows`` is ``logistic-normal`` (priors of ``latent_table``, pooled over strata) or
    ``Dirichlet`` (priors of ``her2_transition_dirichlet``, independent). Raises ``BadInput`` for
    facts that contradict each other, naming them.
    """
    contradicting = conflict(tables)
    if contradicting:
        raise BadInput(Fault("no table agrees with these facts", value=", ".join(contradicting)))
    module = latent_table if rows == LOGISTIC else her2_transition_dirichlet
    priors = complete(priors, module.DEFAULT_PRIORS)
    if rows == LOGISTIC and _listed(tables):
        return _listed_fit(tables, priors, sampling, store, cores)
    identity = _identity(tables, priors, rows, sampling)
    fit_id, model = digest.key(identity), identity["model"]
    if store is None:
        return _compute(tables, priors, rows, sampling, identity, cores)
    tree = store.load(model, fit_id)
    if tree is None:
        with store.lock(fit_id):
            tree = store.load(model, fit_id)
            if tree is None:
                fresh = _compute(tables, priors, rows, sampling, identity, cores)
                store.save(model, fit_id, fresh.tree)
                return fresh
    return TableFit(tree, json.loads(tree.attrs["provenance"]))


def _listed(tables: TableSet) -> bool:
    try:
        sizes = tables.form.sum(axis=(2, 3))
        whole = (tables.form == 1).all(axis=(2, 3)) & (sizes > 0)
        alone = (tables.form.any(axis=(2, 3)).sum(axis=1) == 1) & (tables.lower == tables.upper)
        printed = (whole & alone[:, None]).any(axis=0)
        few = len(enumerate_sums(tables, grouped_cells(tables), 50 * LISTED_LIMIT)) <= LISTED_LIMIT
        return bool(few and printed.all())
    except TooManyTablesError:
        return False


def _listed_fit(
    tables: TableSet,
    priors: Mapping[str, Prior],
    sampling: Sampling,
    store: Store | None,
    cores: int | None,
) -> TableFit:
    listed = listed_tables([tables])
    done = fit(
        latent_table.build, listed, priors=priors, sampling=sampling, store=store, cores=cores
    )
    rng = np.random.default_rng([sampling.seed, 3])
    names = {"stratum": tables.names}
    posterior = done.posterior.sel(names)
    posterior = posterior.assign(table=draw_tables(listed, posterior, rng))
    groups = {name: node.to_dataset() for name, node in done.tree.children.items()}
    groups |= {"posterior": posterior, "prior": done.prior.sel(names)}
    tree = xr.DataTree.from_dict(groups)
    method = f"likelihood summed over all {listed.sizes['candidate']} tables"
    return TableFit(tree, {**done.provenance, "method": method})


def draw_tables(
    listed: xr.Dataset, posterior: xr.Dataset, rng: np.random.Generator
) -> xr.DataArray:
    """Draw the table of each stratum given each draw of the rows, among the listed tables."""
    dims = ("chain", "draw", "stratum", "her2_primary", "her2")
    theta = (posterior["primary_share"] * posterior["transition"]).transpose(*dims)
    cells = theta.values.reshape(-1, int(np.prod(theta.shape[2:])))
    member = listed["member"].values.reshape(listed.sizes["group"], -1)
    log_group = np.log(cells @ member.T)
    log_table = log_group @ listed["tables"].values.T + listed["coefficient"].values
    total = np.zeros((len(cells), listed.sizes["group"]), dtype=np.int64)
    for block in np.unique(listed["block"].values):
        here = np.flatnonzero(listed["block"].values == block)
        noise = rng.gumbel(size=(len(cells), len(here)))
        total += listed["tables"].values[here[np.argmax(log_table[:, here] + noise, axis=1)]]
    drawn = np.zeros_like(cells, dtype=np.int64)
    for group, inside in enumerate(member):
        part = cells[:, inside]
        drawn[:, inside] = rng.multinomial(total[:, group], part / part.sum(1, keepdims=True))
    return theta.copy(data=drawn.reshape(theta.shape)).rename("table")


def _identity(
    tables: TableSet, priors: Mapping[str, Prior], rows: str, sampling: Sampling
) -> dict[str, Any]:
    return {
        "model": "latent_table" if rows == LOGISTIC else "her2_transition_dirichlet",
        "package": __version__,
        "source": meaning(fit_tables),
        "data": digest.data_digest(
            {
                "form": tables.form,
                "lower": tables.lower,
                "upper": tables.upper,
                "labels": [list(map(list, stratum)) for stratum in tables.strata] + [tables.her2],
            }
        ),
        "priors": {name: str(value) for name, value in sorted(priors.items())},
        "options": {"rows": rows, "thin": sampler.THIN},
        "sampling": asdict(sampling),
        "versions": digest.versions(),
    }


def _compute(
    tables: TableSet,
    priors: Mapping[str, Prior],
    rows: str,
    sampling: Sampling,
    identity: dict[str, Any],
    cores: int | None,
) -> TableFit:
    start = perf_counter()
    if rows == LOGISTIC:
        posterior = sampler.sample_rows(tables, priors, sampling, cores=cores)
        prior, method = _logistic_prior(tables, priors, sampling), "tables sampled"
    else:
        posterior, method = _dirichlet(tables, priors, sampling, cores)
        prior = _dirichlet_prior(tables, priors, sampling)
    seconds = {"all": round(perf_counter() - start, 2)}
    provenance = {"fit_id": digest.key(identity), **identity, "method": method, "seconds": seconds}
    empty = xr.Dataset()
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": empty, "prior": prior})
    tree.attrs["provenance"] = json.dumps(provenance)
    log.info("fit %s of %s: %s, %s s", provenance["fit_id"], identity["model"], method, seconds)
    return TableFit(tree, provenance)


def _dirichlet(
    tables: TableSet, priors: Mapping[str, Prior], sampling: Sampling, cores: int | None
) -> tuple[xr.Dataset, str]:
    a = her2_transition_dirichlet.concentration(priors, len(tables.her2))
    share = float(priors["primary_share"]["a"])
    try:
        listed = enumerate_tables(tables, MIXTURE_LIMIT)
    except TooManyTablesError:
        return sampler.sample_dirichlet(
            tables, a, share, sampling, cores=cores
        ), "tables sampled, rows integrated out"
    rng = np.random.default_rng([sampling.seed, 4])
    number = sampling.chains * sampling.draws
    drawn = mixture_draws(listed, table_weights(listed, a, share), a, share, number, rng)
    shape = (sampling.chains, sampling.draws)
    table, transition, primary = (x.reshape(*shape, *x.shape[1:]) for x in drawn)
    method = f"exact mixture over all {len(listed)} tables"
    return sampler.labelled(tables, table, transition, primary), method


def _dirichlet_prior(
    tables: TableSet, priors: Mapping[str, Prior], sampling: Sampling
) -> xr.Dataset:
    rng = np.random.default_rng([sampling.seed, 5])
    a = her2_transition_dirichlet.concentration(priors, len(tables.her2))
    none = np.zeros((1, *tables.shape), dtype=np.int64)
    drawn = mixture_draws(
        none, np.ones(1), a, float(priors["primary_share"]["a"]), _PRIOR_DRAWS, rng
    )
    table, transition, primary = (x[None] for x in drawn)
    return sampler.labelled(tables, table, transition, primary).drop_vars("table")


def _logistic_prior(
    tables: TableSet, priors: Mapping[str, Prior], sampling: Sampling
) -> xr.Dataset:
    from her2bayes.inference import densities, engine

    with engine.compiler_flags():
        model = latent_table.build(empty_strata(tables), priors)
        prior, _ = densities.prior_draws(model, sampling.seed)
    return prior.sel(stratum=tables.names)[["transition", "primary_share"]]


def empty_strata(tables: TableSet) -> xr.Dataset:
    """Strata without data, for the prior of the same model."""
    names = [name for name, _ in tables.strata[0]]
    return xr.Dataset(
        {"patients": ("stratum", np.zeros(len(tables.strata)))},
        coords={
            "stratum": tables.names,
            "her2": list(tables.her2),
            **{n: ("stratum", [dict(s)[n] for s in tables.strata]) for n in names},
        },
        attrs={"factors": names},
    )
