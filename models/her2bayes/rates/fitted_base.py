"""What fitted rates have in common: parts asked for draws, rows, trees, a file and back."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self, overload

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import BadInput
from her2bayes.estimand import Estimand, parse
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.fit import ExactFit, Fit
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.page.numbers import interval
from her2bayes.page.report import Part as ReportPart
from her2bayes.page.section import Section
from her2bayes.rates.draws import POSTERIOR, PRIOR, Make, Part, drawn, rate_row
from her2bayes.results.fitted import Asked, Fitted

Priors = Mapping[str, Prior]


@dataclass(frozen=True)
class Specification:
    """What is fitted besides the counts: priors, sampling, and limits and weights as fractions."""

    priors: Priors
    sampling: Sampling
    thresholds: tuple[float | None, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """As one line of JSON."""
        written = {name: [p.distribution, p.parameters] for name, p in self.priors.items()}
        return json.dumps({**asdict(self), "priors": written})

    @classmethod
    def read(cls, text: str) -> Specification:
        """Read ``text``."""
        said = json.loads(text)
        priors = {name: prior(law, **dict(numbers)) for name, (law, numbers)
                  in said["priors"].items()}  # fmt: skip
        return cls(priors, Sampling(**said["sampling"]), tuple(said["thresholds"]),
                   tuple(said["weights"]))  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class RatesFit(Fitted):
    """Fitted rates: what responses and adverse events of one and of two arms have in common.

    ``tree`` of a sampled fit holds the sampler's draws; rates that are computed have a tree of
    independent draws from their exact posterior (of a hierarchy of many levels: joint draws), with
    the binomial log likelihood of each count. ``source`` says whose counts they are
    (``page.report.Part.about``), ``notes`` what was seen in the tables that were read.
    """

    family: ClassVar[str] = "rates"
    kind: ClassVar[str]
    """Words of the methods on a page: response or adverse_events."""

    specification: Specification
    source: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """What is answered, by what it is of; sampled fits first."""

    @abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row of estimates."""

    @abstractmethod
    def counted(self) -> Iterator[dict[str, Any]]:
        """Every classical row."""

    def part(self, *, suppress_below: int = 0) -> ReportPart:
        """This analysis as a part of a report; ``BadInput`` where small counts should be hidden."""
        plain = super().part(suppress_below=suppress_below)
        said = f"Counts read from {self.source.get('citation', self.title)}."
        return replace(
            plain,
            family=self.kind,
            about={**plain.about, **self.source},
            cohort=Section("cohort", "Table", (said,)),
        )

    def told(self) -> Iterator[str]:
        """Every row of estimates as one line."""
        for row in self._table.to_dict("records"):
            median, low, high = (row[f"posterior_{end}"] for end in ("median", "lower", "upper"))
            reading = f" ({row['reading']})" if row["reading"] else ""
            text = interval(median, low, high, unit=row["unit"])
            yield f"{row['estimand']}{reading} {text} %"

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains."""
        return Settings.of(self.specification.sampling)

    @cached_property
    def fits(self) -> Mapping[str, Fit]:
        """Fits by what each is of, the sampled ones first; a computed one holds draws as well."""
        found: dict[str, Fit] = {}
        for name, part in self.parts.items():
            one = part.fit
            found[name] = one if isinstance(one, Fit) else computed(part, one)
        return found

    def drawn(
        self, asked: list[Estimand], group: str = POSTERIOR, reading: str = ""
    ) -> dict[Estimand, xr.DataArray]:
        """Draws (chain, draw) of estimands; ``reading`` as in the column of ``estimates``."""
        return drawn(list(self.parts.values()), asked, group, reading)

    @overload
    def draws(self, estimand: Asked, *, group: str = ..., reading: str = ...) -> xr.DataArray: ...  # type: ignore[overload-overlap]
    @overload
    def draws(
        self, estimand: Sequence[Asked], *, group: str = ..., reading: str = ...
    ) -> xr.Dataset: ...
    def draws(
        self, estimand: Asked | Sequence[Asked], *, group: str = POSTERIOR, reading: str = ""
    ) -> xr.DataArray | xr.Dataset:
        """Draws of rates and what is made of them, dims ``(chain, draw)``, between 0 and 1.

        ``reading`` is that of the column of ``estimates``: "ordered" for rates that follow from the
        model of all response categories, "borrowing_map" and others for evidence from outside.
        Raises ``BadInput`` for what this fit does not answer, with what it does.
        """
        one = isinstance(estimand, str | Estimand)
        listed: list[Asked] = [estimand] if one else list(estimand)  # type: ignore[list-item, arg-type]
        asked = [parse(text) if isinstance(text, str) else text for text in listed]
        found = self.drawn(asked, group, reading)
        named = {str(name): found[name] for name in asked}
        return found[asked[0]].rename(str(asked[0])) if one else xr.Dataset(named)

    @cached_property
    def _table(self) -> pd.DataFrame:
        return estimates_table(list(self.rows()))

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: median and 95 % interval after and before the data, in percent.

        Without ``estimands`` every rate and difference; those named, in their order, else.
        """
        if estimands is None:
            return self._table.copy()
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        rows = list[Mapping[str, Any]]()
        for one in asked:
            known = self._table[self._table["estimand"] == str(one)]
            rows += [dict(zip(map(str, known), cells, strict=True))
                     for cells in known.itertuples(index=False)] or [self._row(one)]  # fmt: skip
        return estimates_table(rows)

    def _row(self, asked: Estimand) -> dict[str, Any]:
        for part in self.parts.values():
            try:
                drawn([part], [asked], PRIOR, part.reading)
            except BadInput:
                continue
            return rate_row(part, asked)
        self.drawn([asked])  # raises with what is answered
        raise AssertionError(asked)

    def classical(self) -> pd.DataFrame:
        """Rates with Wilson's interval, differences with Newcombe's and Fisher's P."""
        return pd.DataFrame(list(self.counted()))

    @property
    @abstractmethod
    def used(self) -> Priors:
        """Priors of the fits, by name."""

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        return {name: (str(one), one.means) for name, one in self.used.items()}

    @property
    @abstractmethod
    def contract(self) -> str:
        """The counts as JSON."""

    def packed(self) -> xr.DataTree:
        """Counts, specification and the trees of the sampled fits."""
        about = {
            "contract": self.contract,
            "specification": self.specification.text,
            "source": json.dumps(dict(self.source)),
            "notes": json.dumps(self.notes),
        }
        groups: dict[str, xr.Dataset] = {"/": xr.Dataset({k: ((), v) for k, v in about.items()})}
        sampled = [part.fit for part in self.parts.values() if isinstance(part.fit, Fit)]
        for place, one in enumerate(sampled):
            written = xr.Dataset({"provenance": ((), json.dumps(one.provenance))})
            groups[f"/fit{place}"] = written
            groups |= {f"/fit{place}/{name}": node.to_dataset()
                       for name, node in one.tree.children.items()}  # fmt: skip
        return xr.DataTree.from_dict(groups)

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> Self:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        kept = iter([tree[name] for name in tree.children])

        def make(*_: Any, **__: Any) -> Fit:
            node = next(kept)
            provenance = json.loads(str(node["provenance"].item()))
            groups = {name: one.to_dataset() for name, one in node.children.items()}
            return Fit(xr.DataTree.from_dict(groups), provenance)

        contract, specification, source, notes = (
            str(tree[name].item()) for name in ("contract", "specification", "source", "notes")
        )
        found = cls.made(contract, Specification.read(specification), make)
        return replace(found, source=json.loads(source), notes=tuple(json.loads(notes)))

    @classmethod
    @abstractmethod
    def made(cls, contract: str, specification: Specification, make: Make) -> Self:
        """Make the object of a contract as JSON."""


def computed(part: Part, named: ExactFit) -> Fit:
    """Draws of a computed posterior in the groups of a sampled one, with its log likelihood.

    A rate under a choice of borrowing has no log likelihood here: it is one count, and leaving it
    out leaves nothing. There is no ``log_prior``: a uniform one is constant, that of a hierarchy
    has spreads that are summed over.
    """
    rates = {group: _stacked(part, group) for group in (POSTERIOR, PRIOR)}
    groups = {group: xr.Dataset({"rate": rate}) for group, rate in rates.items()}
    if part.cells:
        rate = rates[POSTERIOR]
        count, patients = (
            xr.DataArray([cell[k] for cell in part.cells.values()], {"of": rate["of"]}, "of")
            for k in (0, 1)
        )
        rng = np.random.default_rng(int(count.sum()))
        found = {
            "log_likelihood": xr.apply_ufunc(stats.binom.logpmf, count, patients, rate),
            "posterior_predictive": xr.apply_ufunc(rng.binomial, patients, rate),
            "observed_data": count,
        }
        for group, values in found.items():
            groups[group] = xr.Dataset({"count": values.transpose(..., "of")})
    provenance = {"fit_id": named.fit_id, "model": named.model, **named.inputs}
    return Fit(xr.DataTree.from_dict(groups), provenance)


def _stacked(part: Part, group: str) -> xr.DataArray:
    """Draws of every rate of a part, dims (chain, draw, of)."""
    found = part.rates(group)
    names = xr.DataArray([str(asked) for asked in found], dims="of", name="of")
    return xr.concat(list(found.values()), dim=names).transpose("chain", "draw", "of")
