"""What every fitted analysis answers: draws, estimates, classical numbers, comparison, figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from her2bayes.estimand import Estimand, parse
from her2bayes.page.style import Figures as Figures

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from her2bayes.evidence.printed.conclusions import Conclusion
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.sampling import Settings
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.results.comparison import Comparison
    from her2bayes.sensitivity.run import Sensitivity
    from her2bayes.sensitivity.target import Target

Asked = str | Estimand


class Fitted(ABC):
    """One fitted analysis; each family has its own subclass, all with these answers.

    ``family`` names the room of the package, ``title`` says what was fitted of whom.
    """

    family: ClassVar[str]

    @property
    @abstractmethod
    def title(self) -> str:
        """What was fitted, of whom, in one line."""

    @property
    @abstractmethod
    def fits(self) -> Mapping[str, Fit]:
        """Sampled fits by what each is of; the first is that of ``tree``."""

    @property
    def tree(self) -> xr.DataTree:
        """Draws as ArviZ takes them: groups ``posterior``, ``prior``, ``log_likelihood``, ..."""
        return next(iter(self.fits.values())).tree

    @property
    def fit_id(self) -> str:
        """Twelve hexadecimal digits: equal for equal model, data, priors, settings and versions."""
        return next(iter(self.fits.values())).fit_id

    @property
    def converged(self) -> bool:
        """Whether every row of ``estimates`` comes from draws that pass the convergence verdict."""
        from her2bayes.inference.convergence import CONVERGED

        return bool((self.estimates()["convergence"] == CONVERGED).all())

    @abstractmethod
    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws ``(chain, draw)`` of estimands from one group of the tree, in one pass."""

    @overload
    def draws(self, estimand: Asked, *, group: str = ...) -> xr.DataArray: ...  # type: ignore[overload-overlap]
    @overload
    def draws(self, estimand: Sequence[Estimand | str], *, group: str = ...) -> xr.Dataset: ...
    def draws(
        self, estimand: Asked | Sequence[Asked], *, group: str = "posterior"
    ) -> xr.DataArray | xr.Dataset:
        """Draws of what is asked, dims ``(chain, draw)``, on the natural scale of its kind.

        A share is between 0 and 1, a time in months. Several estimands give a dataset with one
        variable each, named by its canonical text. ``group`` is "posterior" or "prior". Raises
        ``BadInput`` for what this fit does not answer, with what it does.
        """
        one = isinstance(estimand, str | Estimand)
        listed: list[Asked] = [estimand] if one else list(estimand)  # type: ignore[list-item, arg-type]
        asked = [parse(text) if isinstance(text, str) else text for text in listed]
        found = self.drawn(asked, group)
        if one:
            return found[asked[0]].rename(str(asked[0]))
        import xarray as xr

        return xr.Dataset({str(name): found[name] for name in asked})

    @abstractmethod
    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand, columns as in the evidence table: median, 95 % interval, prior, ...

        Without ``estimands``, everything the report of this family holds.
        """

    @abstractmethod
    def classical(self) -> pd.DataFrame:
        """The classical numbers of the same data, each naming its method."""

    @property
    @abstractmethod
    def figures(self) -> Figures:
        """Figures by name, each a function that returns a matplotlib Figure."""

    @abstractmethod
    def section(self) -> Section:
        """This analysis as a section of a report."""

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Further tables of the report by the name of their file, without ``.csv``."""
        return {}

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report (``report``, ``page.report.write``).

        A family that describes its cohort, or has a form to share with counts below
        ``suppress_below`` hidden, says so here. Raises ``BadInput`` where it has none.
        """
        from her2bayes.errors import BadInput, Fault
        from her2bayes.page.report import Part, slug

        if suppress_below:
            problem = "this analysis has no report in which small counts are hidden"
            raise BadInput(Fault(problem, value=self.title, remedy="leave suppress_below out"))
        return Part(
            self.family,
            (self.section(),),
            self.estimates(),
            self.classical(),
            about={"id": slug(self.title), "title": self.title},
            tables=self.tables,
        )

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains, of the first fit that was sampled."""
        from her2bayes.inference.sampling import Sampling, Settings

        said = (one.provenance.get("sampling") for one in self.fits.values())
        known = next((one for one in said if isinstance(one, Mapping)), None)
        return Settings.of(Sampling(**known)) if known else Settings()

    @abstractmethod
    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""

    def compare(self, study: Study) -> Comparison:
        """Published, reproduced and posterior numbers of ``study`` side by side."""
        from her2bayes.results.comparison import compare

        return compare(study, self)

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis of these conclusions asks, with the choices it can vary.

        Raises ``BadInput`` where this analysis has none, or does not answer a conclusion.
        """
        from her2bayes.errors import BadInput, Fault

        remedy = "give the patients, or the study, to hb.sensitivity"
        fault = Fault("this analysis has no choices to vary", value=self.title, remedy=remedy)
        raise BadInput(fault)

    def sensitivity(self, conclusions: str | Path | Sequence[str], **choices: Any) -> Sensitivity:
        """Ask whether conclusions on this fit survive other choices: see ``hb.sensitivity``.

        >>> os.sensitivity(["hazard_ratio[os ; her2: positive vs low] < 1"])  # doctest: +SKIP
        """
        from importlib import import_module

        above = import_module("her2bayes.reproduce.sensitivity")  # the room that joins families
        found: Sensitivity = above.sensitivity(self, conclusions, **choices)
        return found

    @abstractmethod
    def packed(self) -> xr.DataTree:
        """Everything needed to make this object again: fits, contracts, settings as attributes."""

    @classmethod
    @abstractmethod
    def unpacked(cls, tree: xr.DataTree) -> Fitted:
        """Make the object of a ``packed`` tree."""

    def save(self, file: str | Path) -> Path:
        """Write one NetCDF file that ``load_fit`` reads; whole or not at all."""
        from her2bayes.results.saved import save

        return save(self, Path(file))

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        """Estimands as ``maketables.ETable([fit])`` takes coefficients."""
        from her2bayes.results.summary import coefficients

        return coefficients(self)

    @property
    def __maketables_depvar__(self) -> str:
        """Heading of the column."""
        return self.title

    def __maketables_stat__(self, key: str) -> str | None:
        """Lines below the coefficients: the fit's id as ``fit_id``; no other is known."""
        return self.fit_id if key == "fit_id" else None

    def __str__(self) -> str:
        """Ten lines at most: model, priors in clinical units, convergence, what may be asked."""
        from her2bayes.results.summary import summary

        return summary(self)

    def __repr__(self) -> str:
        """One line."""
        return f"<{type(self).__name__}: {self.title}>"
