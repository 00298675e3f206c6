"""Fit of transition rows to printed facts: by exact mixture, listed tables, or sampled tables.

The way is chosen by size. Dirichlet rows: exact mixture up to ``MIXTURE_LIMIT`` tables. Logistic-
normal rows: NUTS on a likelihood that sums over all tables up to ``LISTED_LIMIT`` (grouped) tables.
Otherwise tables are sampled. The model is the same in each case, and so are the variables:
``transition``, ``table`` (stratum, her2_primary, her2), ``primary_share`` (stratum, her2_primary).

    rows P_si ~ Dirichlet(a_i),  primary shares ~ Dirichlet(b, ..., b),  T_s ~ multinomial
    weight of T  =  prod_s n_s! / prod_ij T_sij!  x  prod_si B(a_i + T_si.) / B(a_i)  x  B(b + n_s.)
    P | facts    =  sum_T weight_T  prod_si Dirichlet(a_i + T_si.)                a finite mixture

With a = (1, 1, 1) and printed row totals all tables weigh the same, whatever the number of
patients; with a below 1 those with extreme rows weigh more.

With an assay taken as known, of misclassification matrix M, rows and shares are those of true
classes and the facts speak of readings:

    true_flow[s,i,j] = primary_share[s,i] transition[s,i,j]
    seen_flow[s,a,b] = sum_ij true_flow[s,i,j] M[i,a] M[j,b]       two readings, errors independent
    P(facts)         = sum over the tables of readings that agree with them of
                       prod_s Multinomial(table[s]; n[s], seen_flow[s])

Nothing is solved for: a table that this assay makes improbable weighs little, and true flows stay
flows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import gammaln, logsumexp

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import BadInput, Fault
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.transition import her2_transition_dirichlet, latent_table
from her2bayes.transition import table_sampler as sampler
from her2bayes.transition.facts import Strata, TableSet, stratum_names
from her2bayes.transition.polytope import (
    TooManyTablesError,
    conflict,
    enumerate_sums,
    enumerate_tables,
    grouped_cells,
    listed_tables,
)
from her2bayes.version import __version__, versions

log = logging.getLogger(__name__)

MIXTURE_LIMIT = 100_000
LISTED_LIMIT = 100
LOGISTIC, DIRICHLET = "logistic-normal", "Dirichlet"
_PRIOR_DRAWS = 2000


_UNIFORM = "Dirichlet(1, ..., 1)"


@dataclass(frozen=True)
class RowPrior:
    """A prior of the rows: its family and what differs from the family's defaults."""

    rows: str
    priors: tuple[tuple[str, Prior], ...] = ()

    @property
    def defaults(self) -> Mapping[str, Prior]:
        """Priors of the family."""
        return (latent_table if self.rows == LOGISTIC else her2_transition_dirichlet).DEFAULT_PRIORS

    def replacing(self, priors: Mapping[str, Prior]) -> RowPrior:
        """Return it with some priors replaced, where the family has them and it says nothing."""
        given = {name: value for name, value in priors.items() if name in self.defaults}
        return RowPrior(self.rows, tuple({**given, **dict(self.priors)}.items()))


def row_priors(k: int) -> dict[str, RowPrior]:
    """Row priors shown side by side, for ``k`` classes; the first is the one reported first."""
    usual = her2_transition_dirichlet.DEFAULT_PRIORS["transition"]
    worth = f"{usual['total']:g} patients, {100 * usual['stays']:.0f} % unchanged"
    uniform = prior("Dirichlet", total=float(k), stays=1.0 / k)
    half = prior("Dirichlet", total=k / 2.0, stays=1.0 / k)
    return {
        "logistic-normal": RowPrior(LOGISTIC),
        f"Dirichlet, {worth}": RowPrior(DIRICHLET),
        _UNIFORM: RowPrior(DIRICHLET, (("transition", uniform),)),
        "Dirichlet(1/2, ..., 1/2)": RowPrior(DIRICHLET, (("transition", half),)),
    }


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


@dataclass(frozen=True)
class _Model:
    """What is fitted without a graph; ``reads`` (true class, reading) is a known assay."""

    tables: TableSet
    rows: str
    priors: Mapping[str, Prior]
    reads: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the model file, of its variant with an assay."""
        if self.reads is not None:
            return "latent_table_assay"
        return "latent_table" if self.rows == LOGISTIC else "her2_transition_dirichlet"

    @property
    def concentration(self) -> np.ndarray:
        """Dirichlet parameters of the rows (her2_primary, her2)."""
        return her2_transition_dirichlet.concentration(self.priors, len(self.tables.her2))

    def identity(self, sampling: Sampling) -> dict[str, Any]:
        """What the fit depends on."""
        tables = self.tables
        labels = [list(map(list, stratum)) for stratum in tables.strata] + [tables.her2]
        data = {"form": tables.form, "lower": tables.lower, "upper": tables.upper, "labels": labels}
        thin = sampler.THIN
        if self.reads is not None:
            data["reads"], thin = self.reads, sampler.THIN_ASSAY
        return {
            "model": self.name,
            "package": __version__,
            "source": _source(),
            "data": data_digest(data),
            "priors": {name: str(value) for name, value in sorted(self.priors.items())},
            "options": {"rows": self.rows, "thin": thin},
            "sampling": asdict(sampling),
            "versions": versions(),
        }


@cache
def _source() -> str:
    """What the code of all these fits means; it stays as it is while the process runs."""
    return meaning(_posterior, _prior)


def fit_tables(
    tables: TableSet,
    priors: Mapping[str, Prior] | None = None,
    *,
    rows: str = LOGISTIC,
    misclassification: xr.DataArray | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
    cores: int | None = None,
) -> TableFit:
    """Fit the rows of every stratum of ``tables``, or read the equal fit from ``store``.

    ``rows`` is ``logistic-normal`` (priors of ``latent_table``, pooled over strata) or
    ``Dirichlet`` (priors of ``her2_transition_dirichlet``, independent). With a known assay
    ``misclassification`` (her2, read), ``table`` holds readings, ``transition`` and
    ``primary_share`` true classes. Raises ``BadInput`` for facts that contradict each other, naming
    them.
    """
    contradicting = conflict(tables)
    if contradicting:
        raise BadInput(Fault("no table agrees with these facts", value=", ".join(contradicting)))
    module = latent_table if rows == LOGISTIC else her2_transition_dirichlet
    priors = complete(priors, module.DEFAULT_PRIORS)
    if misclassification is None and rows == LOGISTIC and is_listed(tables):
        return _listed_fit(tables, priors, sampling, store, cores)
    reads = None
    if misclassification is not None:
        order = list(tables.her2)
        reads = misclassification.sel(her2=order, read=order).transpose("her2", "read").to_numpy()
    return _stored_or_computed(_Model(tables, rows, priors, reads), sampling, store, cores)


def _stored_or_computed(
    model: _Model, sampling: Sampling, store: Store | None, cores: int | None
) -> TableFit:
    identity = model.identity(sampling)
    fit_id = fit_key(identity)
    if store is None:
        return _compute(model, sampling, identity, cores)
    tree = store.load(model.name, fit_id)
    if tree is None:
        with store.lock(fit_id):
            tree = store.load(model.name, fit_id)
            if tree is None:
                fresh = _compute(model, sampling, identity, cores)
                store.save(model.name, fit_id, fresh.tree)
                return fresh
    return TableFit(tree, json.loads(tree.attrs["provenance"]))


def _compute(
    model: _Model, sampling: Sampling, identity: Mapping[str, Any], cores: int | None
) -> TableFit:
    start = perf_counter()
    posterior, method = _posterior(model, sampling, cores)
    prior = _prior(model, sampling)
    seconds = {"all": round(perf_counter() - start, 2)}
    provenance = {"fit_id": fit_key(identity), **identity, "method": method, "seconds": seconds}
    empty = xr.Dataset()
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": empty, "prior": prior})
    tree.attrs["provenance"] = json.dumps(provenance)
    log.info("fit %s of %s: %s, %s s", provenance["fit_id"], model.name, method, seconds)
    return TableFit(tree, provenance)


def _posterior(model: _Model, sampling: Sampling, cores: int | None) -> tuple[xr.Dataset, str]:
    """Draws, and how they were made."""
    if model.reads is not None:
        concentration = None if model.rows == LOGISTIC else model.concentration
        draws = sampler.sample_true_rows(
            model.tables, model.reads, model.priors, concentration, sampling, cores
        )
        return draws, "tables of readings and true classes sampled, assay known"
    if model.rows == LOGISTIC:
        draws = sampler.sample_rows(model.tables, model.priors, sampling, cores=cores)
        return draws, "tables sampled"
    return _dirichlet(model, sampling, cores)


def _prior(model: _Model, sampling: Sampling) -> xr.Dataset:
    """Draws of rows and shares before the facts: the same whether an assay stands between."""
    draw = _logistic_prior if model.rows == LOGISTIC else _dirichlet_prior
    return draw(model, sampling)


@lru_cache(maxsize=256)
def is_listed(tables: TableSet) -> bool:
    """Whether a likelihood can sum over all tables: they are few, and all of one size."""
    member = grouped_cells(tables)
    try:
        found = enumerate_sums(tables, member, 50 * LISTED_LIMIT)
    except TooManyTablesError:
        return False
    home = member.reshape(len(member), len(tables.strata), -1).any(axis=2)
    sizes = found @ home
    return bool(0 < len(found) <= LISTED_LIMIT and (sizes == sizes[0]).all())


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


def _dirichlet(model: _Model, sampling: Sampling, cores: int | None) -> tuple[xr.Dataset, str]:
    a, share = model.concentration, float(model.priors["primary_share"]["a"])
    listed = _listed(model.tables)
    if listed is None:
        draws = sampler.sample_dirichlet(model.tables, a, share, sampling, cores=cores)
        return draws, "tables sampled, rows integrated out"
    rng = np.random.default_rng([sampling.seed, 4])
    number = sampling.chains * sampling.draws
    drawn = mixture_draws(listed, table_weights(listed, a, share), a, share, number, rng)
    shape = (sampling.chains, sampling.draws)
    table, transition, primary = (x.reshape(*shape, *x.shape[1:]) for x in drawn)
    method = f"exact mixture over all {len(listed)} tables"
    return sampler.labelled(model.tables, table, transition, primary), method


@lru_cache(maxsize=2)  # row priors of one set are fitted one after the other
def _listed(tables: TableSet) -> np.ndarray | None:
    """All tables where they are few enough for a mixture, not to be written to."""
    try:
        found = enumerate_tables(tables, MIXTURE_LIMIT)
    except TooManyTablesError:
        return None
    found.setflags(write=False)
    return found


def _dirichlet_prior(model: _Model, sampling: Sampling) -> xr.Dataset:
    rng = np.random.default_rng([sampling.seed, 5])
    none = np.zeros((1, *model.tables.shape), dtype=np.int64)
    share = float(model.priors["primary_share"]["a"])
    drawn = mixture_draws(none, np.ones(1), model.concentration, share, _PRIOR_DRAWS, rng)
    table, transition, primary = (x[None] for x in drawn)
    return sampler.labelled(model.tables, table, transition, primary).drop_vars("table")


def _logistic_prior(model: _Model, sampling: Sampling) -> xr.Dataset:
    priors = tuple(sorted(model.priors.items(), key=str))
    before = _rows_before(model.tables.strata, model.tables.her2, priors, sampling.seed)
    return before.sel(stratum=model.tables.names)


@lru_cache(maxsize=8)
def _rows_before(
    strata: Strata,
    her2: tuple[str, ...],
    priors: tuple[tuple[str, Prior], ...],
    seed: int,
) -> xr.Dataset:
    """Draws before the facts, which all readings, facts and known assays share."""
    from her2bayes.inference import densities, engine

    with engine.compiler_flags():
        graph = latent_table.build(empty_strata(strata, her2), dict(priors))
        prior, _ = densities.prior_draws(graph, seed)
    return prior[["transition", "primary_share"]]


def empty_strata(strata: Strata, her2: tuple[str, ...]) -> xr.Dataset:
    """Strata without data, for the prior of the same model."""
    names = [name for name, _ in strata[0]]
    return xr.Dataset(
        {"patients": ("stratum", np.zeros(len(strata)))},
        coords={
            "stratum": stratum_names(strata),
            "her2": list(her2),
            **{n: ("stratum", [dict(s)[n] for s in strata]) for n in names},
        },
        attrs={"factors": names},
    )
