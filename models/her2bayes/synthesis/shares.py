"""Shares of HER2 classes over several studies, fitted: what it answers and its rows.

share[her2=low | study=average]                 the middle of the studies
share[her2=low | hr_status=positive, study=new] what a new study, of one centre, would hold
share_difference[her2=low | study=new ; hr_status: positive vs negative]
heterogeneity[her2=low ; study]                 spread of its log odds between studies
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special

from her2bayes.bayes.prior import Prior
from her2bayes.classical.proportions import percent_row, wilson_row
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, not_answered
from her2bayes.inference.fit import Fit, refit
from her2bayes.inference.fit import Specification as ModelOf
from her2bayes.inference.sampling import Sampling
from her2bayes.page.fit_card import fit_card
from her2bayes.page.numbers import interval, p_value
from her2bayes.page.section import Figure, Section, Table
from her2bayes.results.fitted import Figures
from her2bayes.synthesis import study_shares
from her2bayes.synthesis.base import AVERAGE, NEW, STUDY, About, OfRows, as_fit, at, tail
from her2bayes.synthesis.cells import (
    at_average,
    axes_of,
    contrasts,
    design,
    without,
)
from her2bayes.synthesis.pooling import Pooled, pooled
from her2bayes.synthesis.section import (
    KEY,
    Line,
    answers,
    forest,
    lines_of,
    refitted,
    refitted_tables,
    said,
    svg,
    wholes,
)
from her2bayes.synthesis.studies import atoms, centre_ranges

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

KINDS = ("share", "share_difference", "share_ratio", "heterogeneity")


@dataclass(frozen=True, repr=False, eq=False)
class SharesFit(OfRows):
    """Shares of HER2 classes in an average, a new and every study.

    ``cells`` are StudyCells (``studies.status_cells``).
    """

    cells: xr.Dataset

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.cells["her2"].values]

    @property
    def rows(self) -> xr.Dataset:
        """StudyCells."""
        return self.cells

    # draws

    @cached_property
    def _kept(self) -> dict[str, xr.Dataset]:
        return {}

    def _group(self, group: str) -> xr.Dataset:
        """Draws of a group, with ``off`` and ``off_slope``: a new study's deviations."""
        if group not in self._kept:
            data = self.fit.posterior if group == "posterior" else self.fit.prior
            self._kept[group] = data.assign(deviations(data, self.sampling.seed))
        return self._kept[group]

    def _share(self, group: str, study: str, level: str, setting: str) -> xr.DataArray:
        """Shares (chain, draw, her2) at a place."""
        draws = self._group(group)
        if study in self.names:
            rows = (self.cells["study"].values == study) & (self.cells["level"].values == level)
            rows &= self.cells["centre"].values == ""
            if rows.any():
                return draws["share"].isel(row=int(np.flatnonzero(rows)[0]), drop=True)
            z = draws["at_study"].sel(study=study, drop=True)
        else:
            z = draws["mu"]
            if "beta" in draws:
                z = z + _along(draws["beta"], at_average(self.cells, setting))
            if study == NEW:
                z = z + draws["off"]
        if level and "within" in draws:
            x = contrasts(self.levels)[self.levels.index(level)]
            z = z + _along(draws["within"], x)
            if study == NEW:
                z = z + _along(draws["off_slope"], x)
        return shares_at(z, self.classes)

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of shares between 0 and 1, their differences and ratios, spreads."""
        raise_if([fault for one in asked if (fault := self._fault(one))])
        return {one: self._one(one, group) for one in asked}

    def _one(self, asked: Estimand, group: str) -> xr.DataArray:
        name = asked.outcome.partition("=")[2]
        if asked.kind == "heterogeneity":
            return self._spread(name, group)
        values = []
        for study, level, setting in self._places(asked):
            values.append(self._share(group, study, level, setting).sel(her2=name, drop=True))
        found = values[0] if len(values) == 1 else (
            values[0] / values[1] if asked.kind == "share_ratio" else values[0] - values[1]
        )  # fmt: skip
        return found.drop_vars([c for c in found.coords if c not in ("chain", "draw")])

    def _places(self, asked: Estimand) -> list[tuple[str, str, str]]:
        ends = [asked.conditions]
        if asked.contrast:
            factor = asked.contrast.factor
            ends = [{**ends[0], factor: one} for one in (asked.contrast.a, asked.contrast.b)]
        return [(one.get(STUDY, AVERAGE), one.get(self.about.within or "none", ""),
                 one.get("setting", "")) for one in ends]  # fmt: skip

    def _fault(self, asked: Estimand) -> Fault | None:
        known = [str(self._whole(self.classes[0])), *(str(one) for one, _ in self.asked())]
        two = bool(asked.contrast and asked.contrast.a)
        single = asked.kind in ("share", "heterogeneity")
        if asked.kind not in KINDS or not asked.outcome.startswith("her2=") or two == single:
            return not_answered(asked, self.family, known)
        if asked.outcome.partition("=")[2] not in self.classes:
            return Fault("no such HER2 class", value=str(asked), allowed=", ".join(self.classes))
        return None if asked.kind == "heterogeneity" else self._place_fault(asked)

    def _place_fault(self, asked: Estimand) -> Fault | None:
        """Say what is wrong with the conditions and the two levels of a contrast."""
        allowed = {STUDY: [AVERAGE, NEW, *self.names]}
        allowed |= {self.about.within: self.levels} if self.about.within else {}
        allowed |= {"setting": self.settings_asked} if "setting" in self.about.between else {}
        said = "; ".join(f"{f}: {', '.join(levels)}" for f, levels in allowed.items())
        ends, contrast = list(asked.given), asked.contrast
        if contrast:
            ends += [(contrast.factor, contrast.a), (contrast.factor, contrast.b)]
        if any(level not in allowed.get(factor, ()) for factor, level in ends):
            return Fault("no such place in this synthesis", value=str(asked), allowed=said)
        if missing := self.needed(dict(ends)):
            problem = f"no {' and no '.join(missing)} is said"
            return Fault(problem, value=str(asked), allowed=said)
        return None

    def needed(self, given: Mapping[str, str]) -> list[str]:
        """Moderators without which a place is none: a mean over levels would be of nobody."""
        study = given.get(STUDY, AVERAGE)
        if study in (AVERAGE, NEW):
            return super().needed(given)
        rows = self.cells["study"].values == study
        whole = bool((rows & (self.cells["level"].values == "")).any())
        within = self.about.within
        return [within] if within and not whole and within not in given else []

    def _spread(self, name: str, group: str) -> xr.DataArray:
        """Standard deviation between studies of the log odds of a class, to first order."""
        draws = self._group(group)
        share = self._share(group, AVERAGE, "", "")
        axes = xr.DataArray(axes_of(len(self.classes)), {"her2": self.classes}, ("her2", "axis"))
        others = share.where(share["her2"] != name, 0.0)
        slope = axes.sel(her2=name, drop=True) - (axes * others).sum("her2") / others.sum("her2")
        root = _root(draws)
        direction = slope.rename(axis="to").transpose("chain", "draw", "to")
        reach = (root * direction.drop_vars("to", errors="ignore")).sum("to")
        return xr.DataArray(np.sqrt((reach**2).sum("axis")))

    # rows

    def _whole(self, name: str) -> Estimand:
        return Estimand("share", f"her2={name}")

    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Average, new study, comparisons of levels, spreads, then each study."""
        notes = {AVERAGE: "middle of the studies", NEW: "a study and centre not among these"}
        for study, note in notes.items():
            for where in self.places():
                for name in self.classes:
                    yield at(self._whole(name), study, **where), note
        for study, note in notes.items():
            for asked in self._differences():
                yield from ((at(asked, study, setting=s), note) for s in self.settings_asked)
        for name in self.classes:
            asked = Estimand("heterogeneity", f"her2={name}", contrast=Contrast(STUDY))
            yield asked, "standard deviation of the log odds between studies"
        for row in self._study_rows():
            for name in self.classes:
                asked = at(self._whole(name), row["study"], **self.level(row["level"]))
                yield asked, "drawn towards the others"

    def _differences(self) -> Iterator[Estimand]:
        """Shares of each class compared between every two levels."""
        for a, b in combinations(self.levels, 2):
            contrast = Contrast(self.about.within, a, b)
            yield from (Estimand("share_difference", f"her2={name}", contrast=contrast)
                        for name in self.classes)  # fmt: skip

    def _study_rows(self) -> Iterator[Mapping[str, str]]:
        for k in range(self.cells.sizes["row"]):
            row = self.cells.isel(row=k)
            if not str(row["centre"].item()):
                yield {"study": str(row["study"].item()), "level": str(row["level"].item()),
                       "row": str(row["row"].item())}  # fmt: skip

    @cached_property
    def _counted(self) -> pd.DataFrame:
        """Patients of a class among those it was counted among, by row; where a row tells."""
        holds = self.cells["incidence"].transpose("reading", "her2").values.astype(bool)
        found = []
        for row in self._study_rows():
            cell = self.cells.sel(row=row["row"])
            printed = cell["printed"].values
            counts, part = cell["counts"].values, holds[printed]
            if not part.any(0).all() or (part.sum(0) > 1).any():
                continue  # a class is left out, or sets overlap
            for k, name in enumerate(self.classes):
                single = printed & holds[:, k] & (holds.sum(1) == 1)
                if single.any():
                    found.append({**row, "her2": name, "count": int(counts[single].sum()),
                                  "patients": int(counts[printed].sum())})  # fmt: skip
        return pd.DataFrame(found, columns=["study", "level", "row", "her2", "count", "patients"])

    def classical(self) -> pd.DataFrame:
        """Wilson's interval of each study; pooled log odds (REML, Hartung-Knapp) as the average."""
        rows = list[dict[str, Any]]()
        for _, one in self._counted.iterrows():
            asked = at(self._whole(one["her2"]), one["study"], **self.level(one["level"]))
            rows.append(wilson_row(asked, one["count"], one["patients"]))
        for level, name, found in self.pooled():
            asked = at(self._whole(name), AVERAGE, **self.level(level))
            value, low, high = (
                float(special.expit(x)) for x in (found.estimate, found.lower, found.upper)
            )
            method = f"log odds pooled over {found.studies} studies: {found.method}"
            rows.append(percent_row(asked, "percentage", value, low, high, method))
        return pd.DataFrame(rows)

    def pooled(self) -> Iterator[tuple[str, str, Pooled]]:
        """Level, class and the log odds pooled classically, where two studies print them."""
        for (level, name), one in self._counted.groupby(["level", "her2"], sort=False):
            some = one["count"] + 0.5 * ((one["count"] == 0) | (one["count"] == one["patients"]))
            rest = one["patients"] - one["count"]
            rest = rest + 0.5 * ((one["count"] == 0) | (rest == 0))
            if len(one) > 1:
                errors = np.sqrt(1 / some + 1 / rest)
                yield str(level), str(name), pooled(np.log(some / rest), errors)[-1]

    def ranges(self, centres: Mapping[str, int] | None = None) -> pd.DataFrame:
        """Printed ranges over centres of studies that print no counts, beside what is predicted.

        An external check: nothing of it is in the likelihood. One row a study and class, in
        percent: ``inside`` is the share of centres predicted within the printed range; ``lowest``
        and ``highest`` of all its centres as predicted (median, 95 % predictive interval),
        with two-sided predictive ``p`` of the printed ones. These need the number of centres,
        printed or given here (``{"nielsen2023": 13}``), and allow for the patients of a centre of
        average size.
        Where the studies print centres they vary within a new study by the spread learned of
        them; where none does each centre is taken as a new study (``how``). A fit by a factor
        within studies says nothing of all patients of a centre and has no row.
        """
        return pd.DataFrame(_range_rows(self, centres or {}), columns=RANGES)

    @cached_property
    def _ranges(self) -> pd.DataFrame:
        return self.ranges()

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Studies, each predicted by the others, and ranges over centres where there are any."""
        found = {} if self._ranges.empty else {"centre_ranges": self._ranges}
        return {**super().tables, **found}

    def told(self) -> Iterator[str]:
        """Lines on the average and a new study, then on ranges over centres."""
        yield from super().told()
        yield from _on_ranges(self)

    def influence(self) -> pd.DataFrame:
        """Refit without each study's counts: its shares predicted, P, and the average without it.

        Each study keeps its place in the model with no patients, so that nothing is compiled again.
        """
        rows = []
        for study in self.names:
            rows += list(self._influence_rows(study, self.omitting([study])))
        return pd.DataFrame(rows)

    def omitting(self, names: Sequence[str]) -> SharesFit:
        """The same without the patients of these studies; nothing is compiled again."""
        kept = design(self.cells)
        for study in names:
            kept = without(kept, study)
        spec = ModelOf(study_shares.build, kept, self.used, prior_key=self.fit_id)
        return replace(self, fit=as_fit(refit(spec, self.sampling), self.fit), refitted={})

    def under(self, priors: Mapping[str, Prior]) -> SharesFit:
        """The same analysis under other priors."""
        one = refit(ModelOf(study_shares.build, design(self.cells), priors), self.sampling)
        return replace(self, fit=as_fit(one, self.fit), used=priors, refitted={})

    def _influence_rows(self, study: str, less: SharesFit) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(self.sampling.seed)
        counted = self._counted[self._counted["study"] == study]
        setting = str(self.cells["setting"].values[self.cells["study"].values == study][0])
        setting = setting if "setting" in self.about.between else ""
        for _, one in counted.iterrows():
            share = less.fit.posterior["share"].sel(row=one["row"], her2=one["her2"]).values.ravel()
            seen = rng.binomial(int(one["patients"]), share) / one["patients"]
            low, mid, high = np.quantile(seen, [0.025, 0.5, 0.975])
            average, less_one = (
                float(fit._share("posterior", AVERAGE, one["level"], setting)
                      .sel(her2=one["her2"]).median())
                for fit in (self, less)
            )  # fmt: skip
            yield {
                "study": study, "level": one["level"], "her2": one["her2"],
                "observed": 100 * one["count"] / one["patients"],
                "predicted": 100 * mid, "lower": 100 * low, "upper": 100 * high,
                "p": tail(seen, one["count"] / one["patients"]),
                "average": 100 * average, "average_without": 100 * less_one,
            }  # fmt: skip

    @property
    def figures(self) -> Figures:
        """``forest(her2)``: each study as printed and drawn towards the others, average and new."""
        return Figures({"forest": lambda her2="", **more: shares_forest(
            self, her2 or self.classes[min(1, len(self.classes) - 1)], **more)})  # fmt: skip

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return _section(self)

    def contract(self) -> Mapping[str, xr.Dataset]:
        """StudyCells."""
        return {"cells": self.cells}

    @classmethod
    def made(cls, contract: Mapping[str, xr.Dataset], about: About, fit: Fit, sampling: Sampling,
             used: Mapping[str, Prior]) -> Self:  # fmt: skip
        """Make the object of its parts."""
        said = {"between": list(about.between), "within": about.within,
                "left_out": dict(about.left_out)}  # fmt: skip
        return cls(about, fit, sampling, used, contract["cells"].assign_attrs(said))


def shares_at(z: xr.DataArray, classes: Sequence[str]) -> xr.DataArray:
    """Shares (chain, draw, her2) at coordinates ``z`` (chain, draw, axis) of the logits."""
    labels = {"her2": list(classes), "axis": z["axis"].values}
    logits = (xr.DataArray(axes_of(len(classes)), labels, ("her2", "axis")) * z).sum("axis")
    odds = xr.DataArray(np.exp(logits - logits.max("her2")))
    return (odds / odds.sum("her2")).transpose("chain", "draw", ..., "her2")


def _along(effects: xr.DataArray, x: np.ndarray) -> xr.DataArray:
    """Sum over terms of effects (chain, draw, term, axis) times ``x`` (term)."""
    term = next(str(d) for d in effects.dims if d not in ("chain", "draw", "axis"))
    found = (effects * xr.DataArray(x, {term: effects[term].values}, term)).sum(term)
    return found.transpose("chain", "draw", "axis")


def _root(draws: xr.Dataset) -> xr.DataArray:
    """Root of the covariance between studies (chain, draw, to, axis): off = root x normal."""
    sd = draws["study_sd"].transpose("chain", "draw", "axis").values
    k = sd.shape[-1]
    root = np.zeros((*sd.shape, k))
    for c in range(k):
        root[..., c, c] = sd[..., c]
        name = f"lean_{c + 1}"
        if c and name in draws:
            lean = draws[name].transpose("chain", "draw", ...).values
            for j in range(c):
                root[..., c, :] += lean[..., j, None] * root[..., j, :]
    return xr.DataArray(root, dims=("chain", "draw", "to", "axis"))


def deviations(draws: xr.Dataset, seed: int) -> dict[str, xr.DataArray]:
    """Deviations of one new study, of what a moderator does there, and of its one centre."""
    rng = np.random.default_rng([seed, 3])
    sd = draws["study_sd"].transpose("chain", "draw", "axis")
    normal = xr.DataArray(rng.standard_normal(sd.shape), dims=("chain", "draw", "axis"))
    off = (_root(draws) * normal).sum("axis").rename(to="axis")
    off = off.assign_coords(sd.coords).transpose("chain", "draw", "axis")
    if "centre_sd" in draws:
        centre = draws["centre_sd"].transpose("chain", "draw", "axis")
        off = off + centre * rng.standard_normal(centre.shape)
    found = {"off": off}
    if "slope_sd" in draws:
        within = draws["within"].transpose("chain", "draw", "within_term", "axis")
        noise = within.copy(data=rng.standard_normal(within.shape))
        found["off_slope"] = noise * draws["slope_sd"]
    return found


RANGES = ("study", "her2", "centres", "printed_lower", "printed_upper", "inside", "lowest",
          "lowest_lower", "lowest_upper", "p_lowest", "highest", "highest_lower", "highest_upper",
          "p_highest", "how")  # fmt: skip


def _range_rows(fit: SharesFit, said: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    if fit.about.within:
        return
    draws = fit._group("posterior")
    kept = dict[tuple[str, int], xr.DataArray]()
    for row in centre_ranges(fit.names):
        number = said.get(row["study"], row["centres"])
        setting = row["setting"] if "setting" in fit.about.between else ""
        own = [name for name in fit.classes if atoms(None, name) <= row["members"]]
        held = frozenset[str]().union(*(atoms(None, name) for name in own))
        if held != row["members"] or (setting or fit.settings_asked[0]) not in fit.settings_asked:
            continue  # the classes of the fit do not add up to this one; a setting it has not
        if not setting and "setting" in fit.about.between:
            continue
        place = (setting, number or 1)
        if place not in kept:
            z = draws["mu"]
            if "beta" in draws:
                z = z + _along(draws["beta"], at_average(fit.cells, setting))
            kept[place] = shares_at(z + _of_centres(draws, number or 1, fit.sampling.seed),
                                    fit.classes)  # fmt: skip
        share = kept[place].sel(her2=own).sum("her2").values.reshape(-1, number or 1)
        low, high = row["lower"], row["upper"]
        inside = 100 * float(((100 * share >= low) & (100 * share <= high)).mean())
        how = "centres of a new study" if "centre_sd" in draws else "each centre as a new study"
        found = {"study": row["study"], "her2": row["her2"], "centres": number or np.nan,
                 "printed_lower": low, "printed_upper": high, "inside": inside,
                 "how": how}  # fmt: skip
        if number:
            of = max(1, row["patients"] // number)
            seen = np.random.default_rng([fit.sampling.seed, 11]).binomial(of, share) / of
            for end, values, printed in (
                ("lowest", seen.min(1), low),
                ("highest", seen.max(1), high),
            ):
                a, middle, b = 100 * np.quantile(values, [0.025, 0.5, 0.975])
                found |= {end: middle, f"{end}_lower": a, f"{end}_upper": b,
                          f"p_{end}": tail(100 * values, printed)}  # fmt: skip
        yield found


def _of_centres(draws: xr.Dataset, number: int, seed: int) -> xr.DataArray:
    """Deviations (chain, draw, centre, axis) of the centres of one new study."""
    rng = np.random.default_rng([seed, 13])
    root = _root(draws).values
    shape = (*root.shape[:2], number, root.shape[-1])
    normal = rng.standard_normal(shape)
    if "centre_sd" in draws:
        normal[:] = normal[:, :, :1]  # one study
    off = np.einsum("cdta,cdma->cdmt", root, normal)
    if "centre_sd" in draws:
        sd = draws["centre_sd"].transpose("chain", "draw", "axis").values
        off = off + sd[:, :, None] * rng.standard_normal(shape)
    return xr.DataArray(off, {"axis": draws["axis"].values}, ("chain", "draw", "centre", "axis"))


def _on_ranges(fit: SharesFit) -> Iterator[str]:
    """Sentences on printed ranges over centres."""
    for row in fit._ranges.to_dict("records"):
        printed = f"{row['printed_lower']:.1f} to {row['printed_upper']:.1f} %"
        text = f"{row['study']}, HER2-{row['her2']}: {printed} over "
        if np.isnan(row["centres"]):
            yield (f"{text}centres (their number is not printed), where {row['inside']:.0f} % of "
                   "centres are predicted")  # fmt: skip
            continue
        ends = "; ".join(
            f"{end} predicted "
            + interval(row[end], row[f"{end}_lower"], row[f"{end}_upper"], unit="%")
            + f" % (predictive P {p_value(row[f'p_{end}'])})"
            for end in ("lowest", "highest")
        )
        yield f"{text}{row['centres']:.0f} centres; {ends}"


def _range_table(fit: SharesFit) -> tuple[Table, ...]:
    frame = fit._ranges
    if frame.empty:
        return ()
    number = frame["centres"].map(lambda n: "not printed" if np.isnan(n) else f"{n:.0f}")
    shown = pd.DataFrame({
        "Study": frame["study"], "HER2": frame["her2"], "Centres": number,
        "Printed range, %": [f"{a:.1f}–{b:.1f}" for a, b in
                             zip(frame["printed_lower"], frame["printed_upper"], strict=True)],
        "Centres predicted inside, %": frame["inside"].map("{:.0f}".format),
        **{f"{end.capitalize()} predicted, %": [
            "" if np.isnan(row[end]) else
            interval(row[end], row[f"{end}_lower"], row[f"{end}_upper"], unit="%")
            + f", P {p_value(row[f'p_{end}'])}" for row in frame.to_dict("records")]
           for end in ("lowest", "highest")},
    })  # fmt: skip
    note = (
        "An external check: these ranges are not in the likelihood. Predictive medians with 95 % "
        f"predictive intervals and two-sided P; {frame['how'].iloc[0]}."
    )
    return (Table("Ranges over centres that are printed without counts", shown, note),)


def shares_forest(fit: SharesFit, her2: str) -> Canvas:
    """Forest of the share of one class, by study and level."""
    return forest(_share_lines(fit, her2), f"HER2-{her2}, % of patients")


def _share_lines(fit: SharesFit, her2: str) -> list[Line]:
    asked = Estimand("share", f"her2={her2}")
    rows = [(one["row"], at(asked, one["study"], **fit.level(one["level"])))
            for one in fit._study_rows()]  # fmt: skip
    return lines_of(fit, [*rows, *wholes(fit, asked)])


def _section(fit: SharesFit) -> Section:
    """Report shares over studies."""
    within, classes = fit.about.within, fit.classes
    lines = []
    for level in fit.levels:
        words = "; ".join(
            f"{name} {said(fit, at(Estimand('share', f'her2={name}'), NEW, **fit.level(level)))}"
            for name in classes
        )
        lines.append(f"{within.replace('_', ' ')} {level}: {words}" if within else words)
    first = "What a new study and centre may expect (95 % predictive intervals): " + ". ".join(
        lines
    )
    spread = "; ".join(
        f"{name} {said(fit, Estimand('heterogeneity', f'her2={name}', contrast=Contrast(STUDY)))}"
        for name in classes
    )
    second = f"Standard deviation between studies of the log odds of a class: {spread}."
    figures = tuple(
        Figure(f"figure-synthesis-{k}", f"HER2-{name} by study", svg(shares_forest(fit, name)), KEY)
        for k, name in enumerate(classes)
    )
    middle = figures[min(1, len(figures) - 1)]
    return Section(
        id="synthesis", title=f"HER2 status in {len(fit.names)} studies",
        paragraphs=(f"{first}.", second, *refitted(fit)),
        figures=(middle, *(f for f in figures if f is not middle)),
        tables=(answers(fit), *_range_table(fit), *refitted_tables(fit, ", %")),
        fits=(fit_card(fit.fit, fit.title, fit.estimates()),),
    )  # fmt: skip
