"""Reconstructed patients as fitted analyses: what ``reconstruct`` returns, and how it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.cohorts import kept
from her2bayes.cohorts.analysis import Endpoint, Mixture, Result, mixture, quicker, result_of
from her2bayes.cohorts.chain.problem import BASELINES, EQUAL
from her2bayes.cohorts.constraints import read_summary
from her2bayes.cohorts.curve_fitted import ReconstructedCurves, arms_of, reconstructed_curves
from her2bayes.cohorts.draws import draws
from her2bayes.cohorts.ensemble import ensemble_of, write
from her2bayes.cohorts.interpretations import DEFAULTS, endpoints, settings_of
from her2bayes.cohorts.kept import Specification, Tell
from her2bayes.cohorts.printed_curves import Curves, curves_of
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.printed.study import Study
from her2bayes.files import publish
from her2bayes.inference.convergence import failed
from her2bayes.inference.fit import Fit
from her2bayes.inference.sampling import Settings as RunSettings
from her2bayes.inference.store import Store
from her2bayes.results.fitted import Asked, Figures, Fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from her2bayes.page.section import Section

ENSEMBLE = 50
SEED = 20230221


@dataclass(frozen=True, repr=False)
class ReconstructedStudy(Fitted):
    """Patients behind a study's printed survival: cohorts, and what they and the model say.

    ``result`` holds the endpoints, each with its cohorts, chains and verdict. There is no
    ``log_likelihood`` in ``tree``: the data are printed numbers that every draw meets exactly, so
    that each draw has the same likelihood and leaving patients out has no meaning.
    """

    family: ClassVar[str] = "cohorts"
    result: Result

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Endpoints, in the study's order."""
        return self.result.endpoints

    @property
    def title(self) -> str:
        """What was reconstructed, of whom."""
        parts = [f"{e.name} ({e.spec.summary.patients} patients)" for e in self.endpoints]
        return (
            f"Reconstructed patients behind {self.result.study}, not its data: {', '.join(parts)}"
        )

    @cached_property
    def fits(self) -> Mapping[str, Fit]:
        """Draws of the reference model over the cohorts, by endpoint."""
        return {
            e.name: Fit(_tree(e), {**e.spec.identity, **_mixed(e), "fit_id": e.fit_id})
            for e in self.endpoints
        }

    @property
    def fit_id(self) -> str:
        """Key of the first endpoint's chains; quick, as no draw is read for it."""
        return self.endpoints[0].fit_id

    @property
    def converged(self) -> bool:
        """Whether independently started chains agree about every endpoint."""
        return all(endpoint.ensemble.agrees for endpoint in self.endpoints)

    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws ``(chain, draw)`` from ``group``: "posterior", "prior", or "given".

        "given" are parameters drawn from each member's patients alone, a member a chain: what a
        survival analysis of that one data set would say.
        """
        if group not in ("posterior", "prior", "given"):
            allowed = "posterior, prior, given"
            raise BadInput(Fault("no such group of draws", value=group, allowed=allowed))
        found: dict[Estimand, xr.DataArray] = {}
        for endpoint, mine in self._by_endpoint(asked):
            part = getattr(endpoint.draws, group)
            found |= draws(mine, part, endpoint.draws.levels)
        return found

    def _by_endpoint(self, asked: Sequence[Estimand]) -> list[tuple[Endpoint, list[Estimand]]]:
        """Estimands by the endpoint they are of, all checked; strangers are the first one's."""
        known = {endpoint.name: endpoint for endpoint in self.endpoints}
        groups: dict[str, list[Estimand]] = {}
        faults: list[Fault] = []
        for one in asked:
            name = one.outcome.partition(",")[0]
            groups.setdefault(name if name in known else self.endpoints[0].name, []).append(one)
        for name, mine in groups.items():
            try:
                known[name].check(mine)
            except BadInput as bad:
                faults += bad.faults
        if faults:
            raise BadInput(faults)
        return [(known[name], mine) for name, mine in groups.items()]

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand; without any, all that a report holds.

        ``evidence_kind`` is "by_construction" for what was put in and "implied" for what was not;
        the note says how much of the variance is due to not knowing the patients.
        """
        if estimands is None:
            return self.result.estimates
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        tables = [endpoint.rows_of(mine) for endpoint, mine in self._by_endpoint(asked)]
        rows = pd.concat(tables).set_index("estimand", drop=False)
        return rows.loc[[str(one) for one in asked]].reset_index(drop=True)

    def classical(self) -> pd.DataFrame:
        """Cox's ratios over the cohorts, joined by Rubin's rules."""
        return self.result.classical

    def cohorts(self, endpoint: str | None = None) -> pd.DataFrame:
        """Patients, one row each: ``member`` (from 1), factors, ``time`` in months, ``event``.

        Of every endpoint in a column of that name, where there are several and none is named.
        """
        if endpoint is None and len(self.endpoints) > 1:
            parts = [e.ensemble.patients().assign(endpoint=e.name) for e in self.endpoints]
            return pd.concat(parts, ignore_index=True)
        return self.endpoint(endpoint).ensemble.patients()

    def endpoint(self, name: str | None = None) -> Endpoint:
        """One endpoint with its chains; the first where none is named."""
        known = {endpoint.name: endpoint for endpoint in self.endpoints}
        if name is None:
            return self.endpoints[0]
        if name not in known:
            raise BadInput(Fault("no such endpoint", value=name, allowed=", ".join(known)))
        return known[name]

    def match(self) -> pd.DataFrame:
        """Every printed number in every cohort, by code that shares nothing with the sampler."""
        return pd.concat([e.ensemble.match.assign(endpoint=e.name) for e in self.endpoints])

    def predicted(self) -> pd.DataFrame:
        """Printed numbers that the chains did not use, beside what the cohorts say of them.

        Those that were ``held_out``, and ratios of Cox models of several factors, adjusted for the
        factors by which the cohorts' patients differ. ``p_value`` is two-sided: a small one is a
        finding about the paper, or about the reference model.
        """
        tables = [e.ensemble.predicted.assign(endpoint=e.name) for e in self.endpoints]
        return pd.concat(tables, ignore_index=True)

    def diagnostics(self) -> pd.DataFrame:
        """R-hat and effective sample size of what cohorts say, over independent chains."""
        tables = [e.ensemble.diagnostics.assign(endpoint=e.name) for e in self.endpoints]
        return pd.concat(tables, ignore_index=True)

    def determined(self) -> pd.DataFrame:
        """How far the printed numbers determine each estimate: its variance due to not knowing.

        ``share`` is 0 where any cohort that meets the numbers says the same, 1 where all that is
        not known is who the patients were.
        """
        return pd.concat([e.variance for e in self.endpoints], ignore_index=True)

    def baselines(self) -> pd.DataFrame:
        """What the printed numbers say of each baseline hazard of a mixture; else no rows.

        ``log_evidence`` of all printed numbers together is against the first baseline, with the
        ``std_error`` of the chains; ``weight`` is that of its draws, from equal prior weights.
        """
        tables = [
            e.weighed.assign(endpoint=e.name) for e in self.endpoints if isinstance(e, Mixture)
        ]
        columns = ["endpoint", "baseline", "prior_weight", "log_evidence", "std_error", "weight"]
        return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)

    def over_baselines(self, estimands: Iterable[Asked]) -> pd.DataFrame:
        """Estimates (median, 95 % CrI) under each baseline hazard, and of their mixture."""
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        tables = []
        for endpoint, mine in self._by_endpoint(asked):
            runs = {part.spec.baseline: part for part in _parts(endpoint)}
            runs |= {kept.MIXTURE: endpoint} if isinstance(endpoint, Mixture) else {}
            tables += [one.rows_of(mine).assign(baseline=name) for name, one in runs.items()]
        ends = ["posterior_median", "posterior_lower", "posterior_upper", "convergence"]
        return pd.concat(tables, ignore_index=True)[["estimand", "baseline", *ends]]

    @property
    def prior_sensitivity(self) -> pd.DataFrame:
        """Hazard ratios under priors of their factor's effects half, twice, four times as wide.

        The chains' draws are weighted anew, nothing is sampled: median and 95 % CrI, and Pareto
        k-hat and effective sample size of the weights.
        """
        return pd.concat([e.prior_sensitivity for e in self.endpoints], ignore_index=True)

    @property
    def stances(self) -> Mapping[str, str]:
        """Hazard ratios under other priors, in words, by estimand."""
        return self.result.stances

    @property
    def settings(self) -> RunSettings:
        """Seed, and whether the chains are those of a first look."""
        used = self.endpoints[0].spec.settings
        return RunSettings(used.seed, used == quicker(used))

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Patients, match and diagnostics of each endpoint, as a report adds them."""
        found: dict[str, pd.DataFrame] = {}
        for e in self.endpoints:
            found[f"{e.name}_patients"] = e.ensemble.patients()
            found[f"{e.name}_match"] = e.ensemble.match
            found[f"{e.name}_diagnostics"] = e.ensemble.diagnostics
        return found

    @property
    def figures(self) -> Figures:
        """``survival(factor, endpoint)`` over the cohorts, ``forest(a, b, endpoint)`` of ratios."""
        from her2bayes.cohorts import section

        def survival(factor: str | None = None, endpoint: str | None = None) -> Figure:
            return section.survival_figure(self.endpoint(endpoint), factor)

        def forest(contrast: str | None = None, endpoint: str | None = None) -> Figure:
            return section.forest_figure(self.result, self.endpoint(endpoint), contrast)

        return Figures({"survival": survival, "forest": forest})

    def section(self) -> Section:
        """Report the endpoints."""
        from her2bayes.cohorts.section import section

        return section(self.result)

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Priors of the reference model, which fills in what the printed numbers leave open."""
        given = self.endpoints[0].spec.priors
        return {
            name: (str(one), one.means or kept.meaning_of(name, one)) for name, one in given.items()
        }

    def keep(self, folder: str | Path) -> list[Path]:
        """Keep the chains as ``data/reconstructed`` holds them."""
        parts = [part for e in self.endpoints for part in _parts(e)]
        return [kept.keep(one.spec, one.ensemble.chains, Path(folder)) for one in parts]

    def write(self, folder: str | Path) -> list[Path]:
        """Write patients, match, diagnostics and chains of each endpoint, estimates, a page."""
        from her2bayes.cohorts.section import files_of

        folder = Path(folder)
        tables = [path for e in self.endpoints for path in write(e.ensemble, folder)]
        publish(folder, files_of(self.result))
        return [*tables, folder / "estimates.csv", folder / "report.html"]

    def packed(self) -> xr.DataTree:
        """Chains, printed numbers, interpretations and settings of every endpoint."""
        groups: dict[str, xr.DataTree | xr.Dataset] = {}
        about: list[dict[str, Any]] = []
        for e in self.endpoints:
            said: list[dict[str, Any]] = []
            for part in _parts(e):
                place = f"{e.name}/{part.spec.baseline}"
                tree = kept.tree_of(part.spec, part.ensemble.chains)
                groups |= {f"{place}/{name}": tree[name].to_dataset() for name in tree.children}
                said.append({"specification": kept.to_json(part.spec), "shipped": part.shipped,
                             "place": place})  # fmt: skip
            weighed = e.weighed.to_dict("list") if isinstance(e, Mixture) else None
            about.append({"parts": said, "members": len(e.ensemble.cohorts), "weighed": weighed})
        tree = xr.DataTree.from_dict(groups)
        result = self.result
        tree.attrs["reconstruction"] = json.dumps({
            "study": result.study, "about": result.about, "labels": dict(result.labels),
            "failed": result.failed, "published": dict(result.published), "endpoints": about,
        })  # fmt: skip
        return tree

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> ReconstructedStudy:
        """Make the object of a ``packed`` tree; cohorts are matched anew."""
        said = json.loads(tree.attrs["reconstruction"])
        found: list[Endpoint] = []
        for one in said["endpoints"]:
            parts = []
            for part in one.get("parts", [one]):  # before there were mixtures, an endpoint was one
                spec = kept.from_json(part["specification"])
                place = part.get("place", spec.summary.endpoint)
                chains = kept.read(tree[place])  # type: ignore[arg-type]
                made = ensemble_of(spec.summary, chains, one["members"])
                parts.append(Endpoint(spec, made, part["shipped"]))
            weighed = one.get("weighed")
            found.append(
                mixture(parts, one["members"], pd.DataFrame(weighed)) if weighed else parts[0]
            )
        result = Result(
            said["study"], said["labels"], tuple(found), found[0].spec.settings,
            tuple((name, why) for name, why in said["failed"]),
            {name: tuple(numbers) for name, numbers in said["published"].items()}, said["about"],
        )  # fmt: skip
        return cls(result)

    def __str__(self) -> str:
        """What these patients are, how far the numbers determine them, the chains' verdict."""
        lines = [f"{self.title}."]
        for endpoint in self.endpoints:
            lines += _lines(endpoint)
        lines += [f"{name} has no cohorts: {why}" for name, why in self.result.failed]
        changed = {n: t for n, t in self.priors().items() if t[0] != str(kept.DEFAULT_PRIORS[n])}
        told = "; ".join(f"{name} ~ {text[0]}: {text[1]}" for name, text in changed.items())
        lines.append(
            "draws and estimates are of the reference model, with a shrinkage prior centred at "
            "HR 1;\nclassical() is Cox in the cohorts: printed ratios as printed."
        )
        lines.append(
            f"Priors changed: {told}" if told else "Priors: the reference model's (.priors())"
        )
        lines += [f"{e.name}: {e.baseline_said}" for e in self.endpoints if e.baseline_said]
        return "\n".join(lines)


def _lines(endpoint: Endpoint) -> list[str]:
    """Quality, what is open, verdict and interpretations of one endpoint."""
    ensemble, item = endpoint.ensemble, endpoint.spec.summary
    met = ensemble.match.groupby("member")["met"].all()
    numbers = len(ensemble.match) // len(ensemble.cohorts)
    rows = endpoint.estimates.merge(endpoint.variance, on="estimand")
    share = rows.loc[rows["evidence_kind"] == "implied", "share"]
    verdict = ensemble.verdict
    made = "shipped with the package" if endpoint.shipped else "made here"
    said = [f"{k}={value}" for k, value in item.readings.items() if value != DEFAULTS[k]]
    return [
        f"{endpoint.name}, fit {endpoint.fit_id}: {met.sum()} of {len(met)} cohorts meet all "
        f"{numbers} printed numbers, checked by code independent of the sampler.",
        f"  {len(share)} estimates are not printed; {share.median():.0%} of the variance (median, "
        f"{share.min():.0%} to {share.max():.0%}) is reconstruction uncertainty.",
        f"  {verdict[0].upper()}{verdict[1:]} ({len(ensemble.chains)} chains, {made})."
        + (" Not fit for use." if failed(verdict) else ""),
        f"  Interpretations: {', '.join(said) or 'the default ones'}; printed numbers left out: "
        f"{len(item.left_out)}.",
    ]


def _parts(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoint under each of its baselines."""
    return endpoint.parts if isinstance(endpoint, Mixture) else (endpoint,)


def _mixed(endpoint: Endpoint) -> dict[str, str]:
    return {"baseline": kept.MIXTURE} if isinstance(endpoint, Mixture) else {}


def _tree(endpoint: Endpoint) -> xr.DataTree:
    """Draws of the reference model as ArviZ takes them, cells named by their levels."""
    levels = endpoint.draws.levels
    names = [", ".join(map(str, row)) for row in levels.itertuples(index=False)]
    return xr.DataTree.from_dict(
        {
            group: xr.Dataset(
                {"log_hazard": part.log_hazard, "log_censoring_rate": part.log_leave,
                 "patients": part.patients}
            ).assign_coords(cell=names)
            for group, part in (
                ("posterior", endpoint.draws.posterior), ("prior", endpoint.draws.prior),
            )
        }
    )  # fmt: skip


@dataclass(frozen=True)
class _Printed:
    """How a study's printed numbers are to be taken back to patients."""

    endpoint: str | None = None
    curves: Curves | None = None
    reading: Mapping[str, str] = field(default_factory=dict)
    held_out: tuple[str, ...] = ()
    priors: Mapping[str, Prior] | None = None
    baseline: str = EQUAL
    ensemble: int = ENSEMBLE
    sweeps: int | None = None
    seed: int = SEED
    quick: bool = False
    anew: bool = False


@overload
def reconstruct(  # type: ignore[overload-overlap]
    source: Study, *, curves: Mapping[str, object] | None = ..., at_risk: object = ...,
    events: Mapping[str, int] | None = ..., endpoint: str | None = ...,
    reading: Mapping[str, str] | None = ..., held_out: Sequence[str] = ...,
    priors: Mapping[str, Prior] | None = ..., baseline: str | None = ..., ensemble: int = ...,
    sweeps: int | None = ..., seed: int = ..., quick: bool = ..., anew: bool = ...,
    keep: str | Path | None = ..., store: str | Path | Store | None = ..., tell: Tell = ...,
) -> ReconstructedStudy: ...  # fmt: skip
@overload
def reconstruct(
    source: object, *, at_risk: object = ..., events: Mapping[str, int] | None = ...,
    endpoint: str | None = ..., unit: str = ..., ensemble: int = ..., seed: int = ...,
) -> ReconstructedCurves: ...  # fmt: skip
def reconstruct(
    source: object,
    *,
    curves: Mapping[str, object] | None = None,
    at_risk: object = None,
    events: Mapping[str, int] | None = None,
    endpoint: str | None = None,
    unit: str = "months",
    reading: Mapping[str, str] | None = None,
    held_out: Sequence[str] = (),
    priors: Mapping[str, Prior] | None = None,
    baseline: str | None = None,
    ensemble: int = ENSEMBLE,
    sweeps: int | None = None,
    seed: int = SEED,
    quick: bool = False,
    anew: bool = False,
    keep: str | Path | None = None,
    store: str | Path | Store | None = None,
    tell: Tell = lambda *_: None,
) -> ReconstructedStudy | ReconstructedCurves:
    """Patients behind a paper's printed survival, or behind digitised Kaplan-Meier curves.

    They are not the paper's patients: every member is one data set that has all that is printed,
    and members differ in what is not. ``source`` is

    - a ``Study`` (``load_study``): chains over cohorts that meet every printed number of an
      ``endpoint`` (default: all it names). ``reading`` chooses an interpretation where the paper
      leaves one open, ``{"follow_up": "reverse"}``; claims that are ``held_out`` are not used but
      predicted (``fit.predicted()``); ``priors`` are of the reference model that fills in the rest,
      its ``baseline`` hazard a walk over "equal_intervals" (the reported one), over intervals of
      "equal_deaths", a parabola in "log_time", or the "mixture" of all, each weighted by how well
      it predicts what is printed (``fit.baselines()``; chains under each); ``sweeps`` and ``seed``
      make the chains longer or others, ``quick`` makes two short ones for a first look. Chains kept
      with the package are used where they are of the same numbers, code, priors and settings, then
      those of ``store`` (a folder); ``anew`` makes them whatever is kept, with every cohort found
      (minutes), and ``keep`` names a folder to keep them in, written before anything else. Chains
      that were stopped go on where they were, if there is a ``store``. ``tell(done, total)`` hears
      of sweeps.
      Digitised ``curves`` of the same paper join the printed numbers, by the patients they are of
      (``{"her2=low": "low.csv", "all": points}``), with the numbers ``at_risk`` (arm, time,
      n_at_risk, and n_censored so far where printed; alone they will do) and totals of ``events``.
      They are of one ``endpoint``. A folder ``curves`` of the study does the same for every call
      (``cohorts.printed_curves``).
    - digitised curves: ``read_curve(...)``, or a path or data frame (columns time, survival), or
      several by arm, with the numbers ``at_risk`` (arm, time, n_at_risk) and, where printed, the
      total of ``events`` by arm. ``endpoint`` names the outcome in estimands (default "os"),
      ``unit`` the unit of the curve's times.

    Returns an object with ``draws``, ``estimates``, ``classical``, ``cohorts()``, ``match()``,
    ``diagnostics()``, ``figures``, ``section()``, ``write``, ``save``. Raises ``BadInput`` for
    anything that cannot be used, and with a smallest conflicting set where printed numbers
    contradict each other.

    >>> import her2bayes as hb
    >>> fit = hb.reconstruct(hb.load_study("shi2023"))  # doctest: +SKIP
    >>> fit.draws("survival[bcss | her2=low @ 24 months]").mean()  # doctest: +SKIP
    """
    if ensemble < 1:
        raise BadInput(Fault("members of the ensemble", value=ensemble, allowed="1 or more"))
    if isinstance(source, Study):
        endpoint, figure = _figure(source, endpoint, curves, at_risk, events)
        how = _Printed(
            endpoint, figure, dict(reading or {}), tuple(held_out), priors,
            kept.baseline_of(baseline), ensemble, sweeps, seed, quick, anew,
        )  # fmt: skip
        folder = Store(Path(store)) if isinstance(store, str | Path) else store
        return _of_study(source, how, folder, None if keep is None else Path(keep), tell)
    given = {
        "curves": curves, "reading": reading, "held_out": tuple(held_out) or None,
        "priors": priors, "baseline": baseline, "sweeps": sweeps, "keep": keep, "store": store,
    }  # fmt: skip
    _refuse(given, "digitised curves")
    arms = arms_of(source, at_risk, events)
    return reconstructed_curves(arms, endpoint or "os", unit, ensemble, seed)


def _figure(
    study: Study, endpoint: str | None, curves: Mapping[str, object] | None, at_risk: object,
    events: Mapping[str, int] | None,
) -> tuple[str | None, Curves | None]:  # fmt: skip
    """Curves of the call, and the one endpoint they are of, named where the study has several."""
    if curves is None and at_risk is None:
        _refuse({"events": events}, "printed numbers without curves")
        return endpoint, None
    names = endpoints(study) or list(study.meta.get("endpoints", {}))
    if endpoint is None and len(names) != 1:
        remedy = 'say of which: endpoint="os"'
        raise BadInput(
            Fault("these curves may be of several endpoints", allowed=", ".join(names),
                  remedy=remedy)
        )  # fmt: skip
    endpoint = endpoint or names[0]
    return endpoint, curves_of(study, endpoint, curves, at_risk, events)


def _refuse(given: Mapping[str, object], of: str) -> None:
    faults = [
        Fault(f"{of} take no '{name}'", value=str(value)[:60], remedy="leave it out")
        for name, value in given.items()
        if value is not None
    ]
    if faults:
        raise BadInput(faults)


def _of_study(
    study: Study, how: _Printed, store: Store | None, keep: Path | None, tell: Tell
) -> ReconstructedStudy:
    found: list[Endpoint] = []
    for spec in _specifications(study, how):
        names = list(BASELINES) if how.baseline == kept.MIXTURE else [how.baseline]
        parts = [_endpoint(replace(spec, baseline=name), how, store, keep, tell) for name in names]
        found.append(mixture(parts, how.ensemble) if len(parts) > 1 else parts[0])
    return ReconstructedStudy(result_of(study, found, found[0].spec.settings))


def _endpoint(
    spec: Specification, how: _Printed, store: Store | None, keep: Path | None, tell: Tell
) -> Endpoint:
    """One endpoint under one baseline: chains of the package, of the store, or made."""
    before = None if how.anew else kept.shipped(spec)
    if before is None and how.quick:
        spec = replace(spec, settings=quicker(spec.settings))
    if how.anew:
        chains = kept.sampled(spec, tell, store)
    else:
        chains = before or kept.stored(spec, store, tell)
    if keep is not None:  # before anything else can go wrong: they took minutes
        kept.keep(spec, chains, keep)
    return Endpoint(spec, ensemble_of(spec.summary, chains, how.ensemble), before is not None)


def _of(study: Study, how: _Printed, endpoint: str) -> tuple[str, ...]:
    """Claims held out that are of an endpoint; all where the study has no such rows."""
    if how.endpoint:
        return how.held_out
    outcome = dict(zip(study.ledger["claim_id"], study.ledger["estimand"], strict=True))
    return tuple(
        claim for claim in how.held_out
        if claim not in outcome or parse(str(outcome[claim])).outcome == endpoint
    )  # fmt: skip


def _specifications(study: Study, how: _Printed) -> list[Specification]:
    """What is to be sampled; everything that is wrong is said before the first draw."""
    chosen = {"seed": how.seed} | ({"sweeps": how.sweeps} if how.sweeps else {})
    settings = settings_of(study, **chosen)
    priors = kept.priors_of(how.priors)
    names = [how.endpoint] if how.endpoint else endpoints(study)
    items = [
        read_summary(study, name, how.reading, how.curves, _of(study, how, name)) for name in names
    ]
    if not items:
        raise BadInput(Fault("no printed survival to reconstruct patients from", value=study.id))
    return [Specification(item, settings, priors) for item in items]
