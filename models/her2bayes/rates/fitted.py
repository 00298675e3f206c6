"""``fit_response`` and ``fit_adverse_events``: rates from counts, and what the fits answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.classical.proportions import wilson_row
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.adverse_events import AdverseEvents, read_adverse_events
from her2bayes.evidence.printed.count_tables import (
    notes,
    place,
    read_event_table,
    read_external_table,
    read_response_table,
)
from her2bayes.evidence.printed.study import Study
from her2bayes.inference.fit import ExactFit, Fit, fit
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.page.report import slug
from her2bayes.rates import (
    adverse_events,
    adverse_events_two_arms,
    borrowed_rates,
    events,
    section_events,
    section_response,
)
from her2bayes.rates.borrowed_rates import SHOWN_WEIGHTS, Borrowing
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.classical import classical_rows, tests
from her2bayes.rates.cohort_shares import binomials, counted
from her2bayes.rates.draws import Make, Part, Say, rate_row
from her2bayes.rates.events import THRESHOLDS, Arms
from her2bayes.rates.fitted_base import Priors, RatesFit, Specification
from her2bayes.rates.rate_exact import own_sd
from her2bayes.rates.responses import (
    Best,
    By,
    Levels,
    ResponseData,
    chosen,
    fit_best,
    fit_levels,
    level_rows,
    printed,
    split,
    tabulated,
)
from her2bayes.results.fitted import Figures

if TYPE_CHECKING:
    from her2bayes.evidence.printed.count_tables import Table
    from her2bayes.page.section import Section

SEED = Settings().seed
UNIFORM = prior("Beta", alpha=1.0, beta=1.0, means="any rate equally likely")


@dataclass(frozen=True, repr=False, eq=False)
class ResponseFit(RatesFit):
    """Fitted responses: rates by level, best response, one binomial each for what stands alone.

    ``borrowings`` hold the rate of all patients under every choice of evidence from outside, each
    a reading of its own: ``draws("response_rate[orr]", reading="borrowing_map")``.
    """

    kind: ClassVar[str] = "response"

    data: ResponseData
    levels: tuple[Levels, ...]
    best: tuple[Best, ...]
    shares: tuple[Part, ...]
    borrowings: tuple[Borrowing, ...]

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        patients = max(int(table["patients"].sum()) for table in self.data.counts.values())
        groups = ", ".join(dict.fromkeys(group.upper() for group, _ in self.data.counts))
        return f"Response ({groups}) of {patients} patients: {self.data.name}"

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """What is answered, by what it is of; sampled fits first."""
        label = self.data.labels
        found = {
            f"{one.group.upper()} by {label.get(one.factor, one.factor)}": one.part
            for one in self.levels
        }
        found |= {f"best response: {label.get(one.factor, 'all patients')}": one.part
                  for one in self.best}  # fmt: skip
        found |= {f"binomials {place}": one for place, one in enumerate(self.shares, start=1)}
        found |= {
            f"borrowing for {one.group.upper()}: {choice.label}":
            borrowed_rates.part(one, choice, self.specification.sampling)
            for one in self.borrowings for choice in one.choices
        }  # fmt: skip
        return dict(sorted(found.items(), key=lambda item: isinstance(item[1].fit, ExactFit)))

    @property
    def used(self) -> Priors:
        """Priors of rates by level, of best response, and of a rate by itself."""
        own, ordered = split(self.specification.priors)
        found = dict(own) if self.levels else {}
        found |= {f"best_response.{k}": v for k, v in ordered.items()} if self.best else {}
        return found | ({"share": UNIFORM} if self.shares else {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rates by level and their differences, best response, single shares, borrowing."""
        for levels in self.levels:
            yield from level_rows(levels)
        for best in self.best:
            yield from (rate_row(best.part, asked) for asked in best.part.asked)
        for part in self.shares:
            for asked, cell in part.cells.items():
                yield rate_row(part, asked, note=counted(cell))
        for one in self.borrowings:
            yield from borrowed_rates.rows(one, self.specification.sampling)

    def counted(self) -> Iterator[dict[str, Any]]:
        """Every classical row; the single shares of a study with them."""
        yield from classical_rows(self.data.counts)
        for part in self.shares:
            yield from (wilson_row(asked, *cell) for asked, cell in part.cells.items()
                        if asked.kind == "share")  # fmt: skip

    @cached_property
    def tests(self) -> list[dict[str, Any]]:
        """Every comparison of two levels: difference, ratio, exact tests, adjusted P."""
        return tests(self.data.counts, self.data.labels)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Operating characteristics of every choice of borrowing."""
        more = [one.table.assign(response=one.group) for one in self.borrowings]
        return {"operating_characteristics": pd.concat(more)} if more else {}

    @property
    def figures(self) -> Figures:
        """``rates(group)``, ``best_response()``, ``borrowing(group)``, ``tipping(group)``."""
        return section_response.drawings(self)

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return section_response.section(self)

    @property
    def contract(self) -> str:
        """The counts as JSON."""
        return self.data.text

    @classmethod
    def made(cls, contract: str, specification: Specification, make: Make) -> ResponseFit:
        """Make the object of a contract as JSON."""
        return _response(ResponseData.read(contract), specification, make)


def _response(
    data: ResponseData, specification: Specification, make: Make, say: Say = lambda _: None
) -> ResponseFit:
    own, ordered = split(specification.priors)
    sampling, weights = specification.sampling, specification.weights or SHOWN_WEIGHTS
    (threshold,) = specification.thresholds
    borrowings = tuple(
        borrowed_rates.borrow(group, data.cell(group), *outside, threshold=threshold,
                              weights=weights)
        for group, outside in data.outside.items()
    )  # fmt: skip
    return ResponseFit(
        specification,
        data,
        fit_levels(data, make, sampling, say, own),
        fit_best(data, make, sampling, say, ordered),
        tuple(binomials(cells, sampling) for cells in data.shares),
        borrowings,
    )


@dataclass(frozen=True, repr=False, eq=False)
class AdverseEventFit(RatesFit):
    """Fitted adverse events of one arm at two severities.

    ``external`` are tables of other studies by name; ``compared`` puts the rates side by side.
    """

    kind: ClassVar[str] = "adverse_events"

    data: AdverseEvents
    name: str
    fit: Fit | None
    external: Mapping[str, AdverseEvents]

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        patients = max((n for _, n in self.data.cells().values()), default=0)
        return f"{len(self.data.names)} adverse events among {patients} patients: {self.name}"

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """What is answered, by what it is of; sampled fits first."""
        found = {"adverse events": events.event_part(self.data, self.fit)} if self.fit else {}
        if self.data.whole:
            found["any adverse event"] = events.whole_part(self.data, self.specification.sampling)
        return found

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Rate that matters, by severity, as a fraction."""
        first, second = self.specification.thresholds
        assert first is not None
        assert second is not None
        return events.limits(self.data, (first, second))

    @property
    def used(self) -> Priors:
        """Priors of the single events, and of any event at all."""
        given = self.specification.priors
        found = complete(given, adverse_events.DEFAULT_PRIORS) if self.fit else {}
        return found | ({"share": UNIFORM} if self.data.whole else {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rates of events, and of any event at all."""
        if self.fit is not None:
            yield from events.event_rows(self.data, self.parts["adverse events"], self.thresholds)
        if self.data.whole:
            yield from events.whole_rows(
                self.data, self.parts["any adverse event"], self.thresholds
            )

    def counted(self) -> Iterator[dict[str, Any]]:
        """Every classical row."""
        return events.event_classical(self.data)

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Rates here beside those of other studies, both uncertain."""
        first = next(iter(self.parts.values()))
        return events.compare(self.data, first.rates() if self.fit else {}, self.external)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Comparison with other studies."""
        return {"external": self.compared} if self.external else {}

    @property
    def figures(self) -> Figures:
        """``events()``: rates at both severities, by body system."""
        return section_events.drawings(self)

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return section_events.section(self)

    @property
    def contract(self) -> str:
        """The counts as JSON."""
        return json.dumps({
            "name": self.name, "data": _events_text(self.data),
            "external": {name: _events_text(one) for name, one in self.external.items()},
        })  # fmt: skip

    @classmethod
    def made(cls, contract: str, specification: Specification, make: Make) -> AdverseEventFit:
        """Make the object of a contract as JSON."""
        said = json.loads(contract)
        external = {name: _events_read(one) for name, one in said["external"].items()}
        return _one_arm(_events_read(said["data"]), said["name"], external, specification, make)


def _events_text(data: AdverseEvents) -> dict[str, Any]:
    return {"counts": data.counts.to_dict(), "severities": data.severities, "whole": data.whole}


def _events_read(said: Mapping[str, Any]) -> AdverseEvents:
    whole = {name: (int(a), int(b)) for name, (a, b) in said["whole"].items()}
    return AdverseEvents(xr.Dataset.from_dict(said["counts"]), tuple(said["severities"]), whole)


def _one_arm(
    data: AdverseEvents, name: str, external: Mapping[str, AdverseEvents],
    specification: Specification, make: Make, say: Say = lambda _: None,
) -> AdverseEventFit:  # fmt: skip
    priors = complete(specification.priors, adverse_events.DEFAULT_PRIORS, same_family=True)
    done = events.fit_events(data, make, specification.sampling, say, priors)
    return AdverseEventFit(specification, data, name, done, external)


@dataclass(frozen=True, repr=False, eq=False)
class TwoArmFit(RatesFit):
    """Fitted adverse events of two arms; ``differences`` has one row an event."""

    kind: ClassVar[str] = "adverse_events"

    data: Arms
    name: str
    sampled: Mapping[str, Fit]

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        control, treated = self.data.names
        return f"Adverse events, {treated} vs {control}: {self.name}"

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """What is answered, by severity; sampled fits first."""
        sampling = self.specification.sampling
        found = {severity: events.arm_part(self.data, severity, done, sampling)
                 for severity, done in self.sampled.items()}  # fmt: skip
        if self.data.whole:
            found["any adverse event"] = events.arms_whole_part(self.data, sampling)
        return found

    @property
    def used(self) -> Priors:
        """Priors of the single events, and of any event at all."""
        given = self.specification.priors
        found = complete(given, adverse_events_two_arms.DEFAULT_PRIORS) if self.sampled else {}
        return found | ({"share": UNIFORM} if self.data.whole else {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rates by arm and differences, any event at all first."""
        for severity in self.data.whole:
            yield from events.arms_whole_rows(self.data, severity, self.parts["any adverse event"])
        for severity in self.data.single:
            yield from events.arm_rows(self.data, severity, self.parts[severity])

    def counted(self) -> Iterator[dict[str, Any]]:
        """Every classical row."""
        for severity, table in (*self.data.whole.items(), *self.data.single.items()):
            yield from events.arm_classical(severity, table)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Probability of no difference, of more and of fewer events; exact P, adjusted."""
        whole = self.parts.get("any adverse event")
        found = [events.whole_difference(self.data, severity, whole)
                 for severity in self.data.whole if whole]  # fmt: skip
        found += [events.differences(self.data, severity, self.parts[severity])
                  for severity in self.data.single]  # fmt: skip
        return pd.concat(found, ignore_index=True)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Differences by event."""
        return {"differences": self.differences}

    @property
    def figures(self) -> Figures:
        """``events(severity, arm)``: rates in one arm, by body system."""
        return section_events.drawings_of_arms(self)

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return section_events.section_of_arms(self)

    @property
    def contract(self) -> str:
        """The counts as JSON."""
        both = {"single": self.data.single, "whole": self.data.whole}
        return json.dumps({
            "name": self.name,
            **{key: {name: one.to_dict() for name, one in tables.items()}
               for key, tables in both.items()},
        })  # fmt: skip

    @classmethod
    def made(cls, contract: str, specification: Specification, make: Make) -> TwoArmFit:
        """Make the object of a contract as JSON."""
        said = json.loads(contract)
        single, whole = (
            {name: xr.Dataset.from_dict(one) for name, one in said[key].items()}
            for key in ("single", "whole")
        )
        return _two_arms(Arms(single, whole), said["name"], specification, make)


def _two_arms(
    data: Arms, name: str, specification: Specification, make: Make, say: Say = lambda _: None
) -> TwoArmFit:
    priors = complete(specification.priors, adverse_events_two_arms.DEFAULT_PRIORS,
                      same_family=True)  # fmt: skip
    done = events.fit_arms(data, make, specification.sampling, say, priors)
    return TwoArmFit(specification, data, name, done)


@told
def fit_response(
    data: Study | Table,
    *,
    by: By = None,
    external: Table | None = None,
    weight: float | Sequence[float] | None = None,
    threshold: float | None = None,
    typical: float = 50.0,
    exchangeable: float = 0.5,
    priors: Priors | None = None,
    sampling: Sampling | None = None,
    quick: bool = False,
    seed: int = SEED,
    store: Store | Path | str | None = None,
    say: Say = lambda _: None,
    progress: bool = False,  # read by ``told``
) -> ResponseFit:
    """Fit response rates across the levels of factors, with or without evidence from outside.

    ``data`` is a study, or counts as a path or data frame with the columns factor, level,
    responders, patients (factor and level empty for all patients) and, where there is more than
    one, response (orr). Each factor is an analysis of its own: its levels must not share patients;
    rates are pooled with robust exchangeability (EXNEX). ``by`` names the factors (and levels, in
    their order) that are compared; None: all.

    ``external`` has the columns study, responders, patients (and response): the rate of all
    patients is then analysed under every choice of borrowing. ``weight`` is the weight of the
    outside evidence in a robust prior, 0 to 1: it has no default. ``threshold``: a rate in percent
    to compare with (else the outside rate).

    ``typical`` is the typical rate before the data in percent, ``exchangeable`` the probability
    that a level is exchangeable; ``priors`` names them as ``response.DEFAULT_PRIORS`` does, and
    those of best response as ``best_response.tau``.

    With ``progress`` stderr says what is being waited for.

    Raises ``BadInput`` with every fault before the first draw.

    >>> import pandas as pd
    >>> counts = pd.DataFrame({"factor": [""], "level": [""], "responders": [9], "patients": [20]})
    >>> fit = fit_response(counts)
    >>> [round(float(median), 1) for median in fit.estimates()["posterior_median"]]  # percent
    [45.3]
    """
    weights = () if weight is None else tuple(np.atleast_1d(weight).astype(float).tolist())
    faults = _rate_faults({"threshold": threshold, "typical": typical})
    faults += _weight_faults(external is not None, weights, exchangeable)
    read, said = list[ResponseData](), list[str]()
    found: dict[str, list[tuple[str, int, int]]] = {}
    steps: list[Callable[[], object]] = [
        lambda: read.append(_counts(data)),
        lambda: found.update({} if external is None else read_external_table(external)),
        lambda: split(priors),
    ]
    faults += _told(steps)
    outside = {name: _studies(rows) for name, rows in found.items()}
    if read:
        faults += _without_all(read[0], outside, None if isinstance(data, Study) else data)
    raise_if(faults)
    contract = chosen(read[0], by)
    contract = replace(contract, outside=outside or contract.outside)
    typical_rate = {} if (typical, exchangeable) == (50.0, 0.5) else around(typical, exchangeable)
    specification = Specification(
        {**typical_rate, **(priors or {})},
        sampling or Settings(seed, quick).sampling,
        (None if threshold is None else threshold / 100,),
        weights,
    )
    done = _response(contract, specification, partial(fit, store=_store(store)), say)
    for source in (data, external):
        if source is not None and not isinstance(source, Study):
            said += notes(source)
    said += section_response.left_out(done)
    return replace(done, source=_source(data), notes=tuple(said))


@told
def fit_adverse_events(
    data: Study | Table,
    *,
    threshold: float = 100 * THRESHOLDS[0],
    severe_threshold: float = 100 * THRESHOLDS[1],
    external: Mapping[str, Table] | Sequence[str | Path] = (),
    priors: Priors | None = None,
    sampling: Sampling | None = None,
    quick: bool = False,
    seed: int = SEED,
    store: Store | Path | str | None = None,
    say: Say = lambda _: None,
    progress: bool = False,  # read by ``told``
) -> AdverseEventFit | TwoArmFit:
    """Fit rates of adverse events at two severities, or differences between two arms.

    ``data`` is a study, or counts as a path or data frame with the columns event, severity, count,
    patients and, optionally, body_system and arm. Severity is "any" or one cut of the grades
    ("grade 3-4"); the event "any" is any event at all. With two arms (the first one named is the
    control) each severity is compared by the three-level mixture of Berry and Berry, which gives
    every event a probability of no difference.

    ``threshold`` and ``severe_threshold``: rates in percent that matter. ``external``: tables of
    one arm of other studies, by name or as paths, to compare one arm with. ``priors`` are named as
    ``adverse_events.DEFAULT_PRIORS``, of two arms ``adverse_events_two_arms.DEFAULT_PRIORS``.

    With ``progress`` stderr says what is being waited for.

    Raises ``BadInput`` with every fault before the first draw.

    >>> import pandas as pd
    >>> rows = [("a", "any", "any", 0, 18), ("b", "any", "any", 0, 17)]
    >>> counts = pd.DataFrame(rows, columns=["arm", "event", "severity", "count", "patients"])
    >>> fit = fit_adverse_events(counts)
    >>> round(float(fit.differences["more_in_treated"].iloc[0]), 4)  # 19 / 37
    0.5135
    """
    limits = {"threshold": threshold, "severe_threshold": severe_threshold}
    raise_if(_rate_faults(limits))
    specification = Specification(
        dict(priors or {}),
        sampling or Settings(seed, quick).sampling,
        (threshold / 100, severe_threshold / 100),
    )
    make = partial(fit, store=_store(store))
    if isinstance(data, Study):
        name, rows, file = data.id, data.adverse_events, Path("adverse_events.csv")
        about = []
    else:
        name, rows, file = slug(place(data).stem, "table"), read_event_table(data), place(data)
        about = notes(data)
    if rows.empty:
        remedy = "add adverse_events.csv, or give a table of counts"
        raise_if([Fault("the study prints no adverse events", value=name, remedy=remedy)])
    if "arm" in rows and len(set(rows["arm"])) > 1:
        if external:
            problem = "two arms are compared with each other, not with --external"
            raise_if([Fault(problem, file, remedy="give the rows of one arm")])
        arms = events.read(rows, file)
        both = _two_arms(arms, name, specification, make, say)
        return replace(both, source=_source(data), notes=tuple(about))
    counts = read_adverse_events(rows, file)
    named = external if isinstance(external, Mapping) else {Path(f).stem: f for f in external}
    elsewhere = {study: _other(table) for study, table in named.items()}
    events.check(counts, elsewhere)
    for table in named.values():
        about += notes(table)
    done = _one_arm(counts, name, elsewhere, specification, make, say)
    return replace(done, source=_source(data), notes=(*about, *counts.contradictions()))


def around(typical: float, exchangeable: float) -> dict[str, Prior]:
    """Priors of ``response`` worth one patient at the rate ``typical`` (percent)."""
    rate = typical / 100
    centre, width = log(rate / (1 - rate)), own_sd(rate)
    worth = f"typical rate {typical:g} %, worth one patient"
    return {
        "mu": prior("Normal", mu=centre, sigma=width, means=worth),
        "rate_alone": prior("Normal", mu=centre, sigma=width, means=worth),
        "weight": prior("Constant", value=exchangeable, means="probability of exchangeability"),
    }


def _store(store: Store | Path | str | None) -> Store | None:
    return Store(Path(store)) if isinstance(store, str | Path) else store


def _counts(data: Study | Table) -> ResponseData:
    if isinstance(data, Study):
        return printed(data)
    return tabulated(slug(place(data).stem, "table"), read_response_table(data))


def _source(data: Study | Table) -> dict[str, str]:
    """Whose counts they are, for a report."""
    if isinstance(data, Study):
        names = ("citation", "doi", "design")
        return {"id": data.id, "title": data.title, "digest": data.digest,
                **{name: str(data.meta.get(name, "")) for name in names}}  # fmt: skip
    path = place(data)
    content = path.read_bytes() if path.is_file() else str(data).encode()
    return {
        "id": slug(path.stem, "table"), "title": path.stem, "design": "table of counts",
        "doi": "", "citation": path.name, "digest": sha256(content).hexdigest(),
    }  # fmt: skip


def _studies(rows: Sequence[tuple[str, int, int]]) -> tuple[Outside, str]:
    """Studies outside and their names."""
    outside = Outside(tuple(y for _, y, _ in rows), tuple(n for _, _, n in rows))
    return outside, ", ".join(study for study, _, _ in rows)


def _told(steps: Sequence[Callable[[], object]]) -> list[Fault]:
    """Faults of several steps together."""
    faults: list[Fault] = []
    for step in steps:
        try:
            step()
        except BadInput as bad:
            faults += bad.faults
    return faults


def _rate_faults(percent: Mapping[str, float | None]) -> list[Fault]:
    return [
        Fault(f"--{name.replace('_', '-')} is no rate", value=value,
              allowed="above 0 and below 100, percent")
        for name, value in percent.items()
        if value is not None and not 0 < value < 100
    ]  # fmt: skip


def _without_all(
    data: ResponseData, outside: Mapping[str, object], table: Table | None
) -> list[Fault]:
    file = None if table is None else place(table)
    return [
        Fault(f"no row of all patients for the response '{name}'", file,
              remedy="add a row with empty factor and level, which borrows from outside")
        for name in outside if (name, "") not in data.counts
    ]  # fmt: skip


def _weight_faults(external: bool, weights: tuple[float, ...], exchangeable: float) -> list[Fault]:
    faults = [
        Fault("weight of the outside evidence", column="--weight", value=w, allowed="0 to 1")
        for w in weights
        if not 0 <= w <= 1
    ]
    if external and not weights:
        remedy = "say how far you trust the outside evidence, e.g. --weight 0.5; repeat for several"
        faults.append(Fault("--external needs --weight, which has no default", remedy=remedy))
    if weights and not external:
        faults.append(Fault("--weight without --external", remedy="name the outside evidence"))
    if not 0 <= exchangeable <= 1:
        problem = "--exchangeable is no probability"
        faults.append(Fault(problem, value=exchangeable, allowed="0 to 1"))
    return faults


def _other(table: Table) -> AdverseEvents:
    rows, file = read_event_table(table), place(table)
    arms = sorted(set(rows["arm"]))
    if len(arms) > 1:
        raise_if([Fault("an external table has one arm", file, None, "arm", ", ".join(arms),
                        remedy="keep the rows of the arm to compare with")])  # fmt: skip
    return read_adverse_events(rows, file)
