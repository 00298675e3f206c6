"""The joint model in a report: what decides it, true classes beside readings, figures, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from her2bayes.classical import survival as km
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.patients.survival_cells import at_risk
from her2bayes.inference.fit import Fit
from her2bayes.inference.predictive import leave_one_out
from her2bayes.joint.draws import chained
from her2bayes.page.fit_card import HERE, Judged, fit_card
from her2bayes.page.numbers import count, interval, number, probability
from her2bayes.page.section import Figure, Section, Table
from her2bayes.survival import figures as curves
from her2bayes.survival.drawings import band, ticks_between
from her2bayes.survival.draws import mean_curves, quantities
from her2bayes.survival.estimates import given_of, pairs
from her2bayes.survival.figures import Curve, endpoint_name
from her2bayes.transition import figures as flows
from her2bayes.transition.section import svg

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Drawing

    from her2bayes.joint.counts import Counted
    from her2bayes.survival.estimates import Answers
    from her2bayes.transition.draws import Matrix


class OfTrueClasses(Protocol):
    """What a report says of true classes, in words and tables."""

    @property
    def counted(self) -> Counted:
        """Counts of the cohort."""

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws of estimands."""

    def estimates(self) -> pd.DataFrame:
        """Rows of the report."""

    def classical(self) -> pd.DataFrame:
        """The classical side, by class as read."""


class Fitted(OfTrueClasses, Protocol):
    """What a report reads of a fitted joint model."""

    @property
    def fit(self) -> Fit:
        """The one fit."""

    @property
    def tree(self) -> xr.DataTree:
        """Its groups, with the likelihood of the patients."""

    @property
    def refitted(self) -> Mapping[str, pd.DataFrame]:
        """Answers under other assays and other evidence, where they were asked for."""

    @property
    def survival(self) -> Answers:
        """Survival by true class."""

    @property
    def matrices(self) -> list[Matrix]:
        """Transitions of true classes, of all patients first."""

    @property
    def log_density(self) -> np.ndarray:
        """Log density of each row of patients in each draw."""


class OverCohorts(OfTrueClasses, Protocol):
    """The same over reconstructed cohorts."""

    @property
    def study(self) -> str:
        """Study that they are of."""

    @property
    def members(self) -> Sequence[Fitted]:
        """The fit of each cohort."""

    @property
    def chains(self) -> str:
        """Verdict of the chains that made the cohorts."""

    def determined(self) -> pd.DataFrame:
        """Share of each variance that is reconstruction uncertainty."""


ENOUGH = 0.5
"""Contraction of the assay's accuracy below which the prior, not the data, decides it."""

NON_DIFFERENTIAL = (
    "Errors of a reading are taken to be as frequent whatever becomes of the patient "
    "(non-differential), and independent between the two samples unless a share of errors made "
    "together is given."
)
MADE_TOGETHER = " If some are made together, more of the observed change is true than said here."


def cohort_lines(counted: Counted) -> Iterator[str]:
    """The cohort before anything is fitted, one line each."""
    followed = counted.followed
    yield (
        f"{counted.name}: {counted.patients:,} patients, {followed.events:,} events, longest "
        f"follow-up {followed.last_time:.1f} months"
    )
    yield from (f"  {line}" for line in followed.told)
    if counted.pairs_only:
        yield f"  readings without follow-up: {counted.pairs_only:,}"
    yield from (f"  left out, {reason}: {n:,}" for reason, n in counted.left_out.items())


def cohort_section(counted: Counted) -> Section:
    """Patients by both readings, and who is left out."""
    of = counted.data["readings"]
    frame = pd.DataFrame(
        {
            "Primary": of["reading_of_primary_text"].to_numpy(),
            "Recurrence": of["reading_of_recurrence_text"].to_numpy(),
            "Patients": of["patients"].to_numpy(),
        }
    )
    table = frame.pivot_table(
        index="Primary", columns="Recurrence", values="Patients", aggfunc="sum", fill_value=0
    )
    text = tuple(f"{line.strip()[:1].upper()}{line.strip()[1:]}." for line in cohort_lines(counted))
    caption = "Patients by class as read; a set of classes is a reading that leaves them open."
    return Section(
        "cohort", "Cohort", text, tables=(Table("Readings", table.reset_index(), caption),)
    )


def lines(of: OfTrueClasses) -> Iterator[str]:
    """The answer in lines for a terminal."""
    chosen = (
        "read_discordance[]",
        "true_discordance[her2]",
        "unchanged_given_observed_change[her2]",
    )
    table = of.estimates().set_index("estimand")
    ratios = [name for name in table.index if name.startswith(("hazard_ratio[", "dilution["))
              and "; hr_" not in name]  # fmt: skip
    for name in (*chosen, *ratios):
        if name in table.index:
            yield f"{name} {_three(table.loc[name])}"
    yield _decides(of)


def _three(row: Any) -> str:
    median, low, high = (row[f"posterior_{end}"] for end in ("median", "lower", "upper"))
    unit = str(row["unit"])
    return interval(median, low, high, unit=unit) + (f" {unit}" if unit else "")


def _decides(of: OfTrueClasses) -> str:
    """Whether the data or the prior say how well a class is read."""
    if "misclassification" in of.counted.data["assay"]:
        return "The errors of the assay are taken as known."
    table = of.estimates().set_index("estimand")
    known: list[str] = []
    believed: list[str] = []
    for name in of.classes:
        rows = [key for key in table.index if key.startswith(f"read_as[{name} -> {name}")]
        (known if table.loc[rows, "contraction"].min() >= ENOUGH else believed).append(name)
    said = []
    if believed:
        said.append(
            f"How well {_read(believed)} read rests on the prior more than on these data "
            "(contraction below one half), and with it how much of the change is true."
        )
    if known:
        said.append(
            f"The data say how well {_read(known)} read, by this model: they halve the variance "
            "that the prior leaves, or more."
        )
    return " ".join(said)


def _read(names: Sequence[str]) -> str:
    """Names of classes as the subject of a sentence: ``zero is``, ``zero and low are``."""
    *most, last = names
    return f"{', '.join(most)} and {last} are" if most else f"{last} is"


def section(of: Fitted) -> Section:
    """Report the joint model."""
    end = endpoint_name(of.counted.followed.endpoint)
    whole = Fit(of.tree, of.fit.provenance)  # with the likelihood of the patients
    return Section(
        id="joint",
        title=f"True HER2 status: assay, change and {end} in one model",
        paragraphs=tuple(_paragraphs(of, [of.counted])),
        figures=tuple(_figures(of)),
        tables=tuple(_tables(of)),
        fits=(fit_card(whole, "Joint model", of.estimates(), judged(of)),),
        main=("joint-survival", "True class and class as read"),
    )


def judged(of: Fitted) -> Judged:
    """Each patient left out, given the others; what is reported under scaled priors."""
    every = max(1, of.fit.posterior["draw"].size * of.fit.posterior["chain"].size // 1000)
    rows = of.log_density[::every]
    patients = of.counted.data["rows"]["patients"].to_numpy()
    scores = {HERE: leave_one_out(rows, patients)} if (patients >= 1).all() else {}
    asked = [Estimand("true_discordance", "her2"), *_ratios(of)]
    found = of.drawn(asked)
    names = [n for n in ("reference_log_hazard", "smoothing", "spread_her2", "accuracy", "centre",
                         "deviation_sd") if n in of.fit.posterior]  # fmt: skip
    unit = "patient" if scores else "nothing: patients are counted at nodes of time"
    return Judged({str(one): draws for one, draws in found.items()}, names, scores, unit)


def _ratios(of: OfTrueClasses) -> list[Estimand]:
    """Hazard ratios between true classes."""
    if of.counted.followed.causes:
        return []
    end = of.counted.followed.endpoint
    return [Estimand("hazard_ratio", end, (), Contrast("her2", a, b))
            for a, b in pairs(of.classes, of.classes[0])]  # fmt: skip


def _paragraphs(of: OfTrueClasses, counted: Sequence[Counted]) -> Iterator[str]:
    """The answer in words; ``counted`` are the cohort, or all cohorts."""
    table = of.estimates().set_index("estimand")

    def said(name: str) -> str:
        return _three(table.loc[name])

    yield (
        f"The two readings differ in {said('read_discordance[]')} of patients "
        f"({_differing(counted)}), the true class changes in {said('true_discordance[her2]')}. Of "
        "patients whose readings differ, "
        f"{said('unchanged_given_observed_change[her2]')} did not change. {_decides(of)}"
    )
    ratios = _ratios(of)
    for true in ratios:
        assert true.contrast is not None
        a, b = true.contrast.a, true.contrast.b
        read = Estimand("hazard_ratio", true.outcome, (), Contrast("read", a, b))
        yield (
            f"{a} vs {b}: hazard ratio {said(str(true))} between true classes, {said(str(read))} "
            f"between classes as read (Cox by class as read: {_cox(of, a, b)}); "
            f"{_diluted(of, true)}."
        )
    if ratios:
        yield (
            "What misreading does is the step from the second ratio to the first, both of the "
            "model and both drawn towards 1 by its prior. Cox's ratio has no prior: it can be "
            "further from 1 than the ratio between true classes and yet be diluted."
            + (MORE_THAN_TWO if len(of.classes) > 2 else "")
        )
    error = f"hazard_ratio[{of.counted.followed.endpoint} ; read_change: changed vs same]"
    if error in table.index:
        yield (
            "In this model hazards depend on the true class at recurrence"
            + (" and at the primary" if "her2_primary" in of.counted.data["cells"].dims else "")
            + ", not on a change as such. Through the classes alone, patients whose readings "
            f"differ have {said(error)} times the hazard of those whose readings agree; a ratio "
            "far from that among the patients would be a sign that the change itself matters."
        )
    yield (
        "Pairs of readings fit equally well with a good assay and much change or a worse assay and "
        "less. What tells them apart is the prior of the assay, tables of two readings of one "
        f"tumour, and survival where it differs between true classes. {_of_errors(of.counted)} "
        "Transitions and shares are those of patients under observation"
        + (
            ", taken to be the same whenever they entered."
            if of.counted.followed.has_entry
            else "."
        )
    )


MORE_THAN_TWO = (
    " With more than two classes misreading can also move the ratio between two of them away from "
    "1 (Dosemeci 1990), so a dilution may be above 1."
)


def _differing(counted: Sequence[Counted]) -> str:
    """Patients whose two readings are one class each, and differ: as counted, by no model."""
    found = set()
    for one in counted:
        of = one.data["readings"]
        first, second = (of[f"holds_{end}"].to_numpy() for end in ("primary", "recurrence"))
        exact = (first.sum(axis=1) == 1) & (second.sum(axis=1) == 1)
        change = exact & ((first * second).sum(axis=1) == 0)
        number = of["patients"].to_numpy()
        found.add((int(number[change].sum()), int(number[exact].sum())))
    return " or ".join(f"{change} of {pairs} counted" for change, pairs in sorted(found))


def _of_errors(counted: Counted) -> str:
    """What is taken for granted of the errors."""
    assay = counted.data["assay"]
    same = " Both tumours are read with the same errors." if assay.sizes["assay"] == 1 else ""
    apart = not float(assay.get("error_correlation", 0.0))
    return NON_DIFFERENTIAL + same + (MADE_TOGETHER if apart else "")


def _diluted(of: OfTrueClasses, true: Estimand) -> str:
    """How far readings dilute a ratio; of one that may be 1 there is no saying."""
    table = of.estimates().set_index("estimand")
    _, low, high = _ends(table.loc[str(true)].to_dict(), "posterior")
    if low < 1 < high:
        return "as the true ratio may be 1, how far it is diluted cannot be said"
    dilution = str(Estimand("dilution", true.outcome, (), true.contrast))
    return f"the log ratio as read is {_three(table.loc[dilution])} of the true one"


def _cox(of: OfTrueClasses, a: str, b: str) -> str:
    """Cox's hazard ratio by class as read."""
    name = f"hazard_ratio[{of.counted.followed.endpoint} ; read: {a} vs {b}]"
    rows = of.classical()
    found = rows[rows["estimand"] == name]
    if found.empty:
        return "not estimated"
    row = found.iloc[0]
    return interval(row["reproduced"], row["reproduced_lower"], row["reproduced_upper"], 2)


def draw_survival(of: Fitted) -> Drawing:
    """Survival by true class with 95 % bands, over Kaplan–Meier by class as read."""
    head = "Band: true class, 95 % CrI; step: Kaplan–Meier by class as read; dotted: extrapolated"
    return curves.draw_survival(_curves(of), _ticks(of), of.counted.followed.endpoint, head)


def _ticks(of: Fitted) -> list[float]:
    return ticks_between(of.counted.followed.last_time, float(of.survival.grid[0]))


def _curves(of: Fitted) -> list[Curve]:
    counts, grid, ticks = of.counted.by_read, of.survival.grid, _ticks(of)
    labels, steps = km.label(counts, ["read"]), km.curve(counts, ["read"])
    found = []
    for name in of.classes:
        step = steps[steps["group"] == name]
        drawn = of.survival.curves["posterior"][given_of("her2", name)]["survival"]
        found.append(
            Curve(
                label=name,
                band=band(drawn, grid),
                steps=(np.append(grid[0], step["time"]), np.append(1.0, step["estimate"])),
                at_risk=list(at_risk(counts[labels == name], ticks)),
                last=float(counts.loc[labels == name, "time"].max()),
                first=float(grid[0]),
            )
        )
    return found


def draw_transitions(of: Fitted) -> Drawing:
    """True classes flowing from primary to recurrence."""
    return flows.alluvial(flows.flow_square(of.matrices[0]), of.counted.patients)


def draw_read(of: Fitted) -> Drawing:
    """Classes as read flowing from primary to recurrence, as the model expects them."""
    read = of.matrices[0].posterior.readings["observed_flow"]
    read = read.rename(read_primary="her2_primary", read="her2")
    return flows.alluvial(flows.square(read, ""), of.counted.patients)


def _assay_lines(of: Fitted) -> list[flows.Line]:
    table = of.estimates()
    table = table[table["estimand"].str.startswith("read_as[")]
    found = []
    for row in table.to_dict("records"):
        ends = {group: _ends(row, group) for group in ("prior", "posterior")}
        name = row["estimand"].removeprefix("read_as[").rstrip("]").replace("->", "read as")
        found.append(flows.Line(name, ends, number(row["contraction"], 2)))
    return found


def draw_assay(of: Fitted) -> Drawing:
    """Probability that each true class is read as each class, prior and posterior."""
    return flows.intervals(_assay_lines(of), label="% of the true class", remark="contraction",
                           legend=True)  # fmt: skip


def draw_assays(of: Fitted) -> Drawing:
    """True discordance by the accuracy of an assay taken as known."""
    table = of.refitted["assays"].sort_values("accuracy")
    true = (
        100
        * table[["true_discordance", "true_discordance lower", "true_discordance upper"]]
        .to_numpy()
        .T
    )
    seen = of.drawn([Estimand("read_discordance")])[Estimand("read_discordance")]
    low, middle, high = 100 * np.quantile(seen, [0.025, 0.5, 0.975])
    flat = np.repeat(np.array([[middle], [low], [high]]), len(table), axis=1)
    top = 10 * np.ceil(max(true.max(), high) / 10)
    return flows.curve(
        100 * table["accuracy"].to_numpy(), {"true change": true, "readings differ": flat},
        x_label="accuracy of the assay, %", y_label="patients, %", limit=top,
    )  # fmt: skip


DRAWINGS = {
    "survival": draw_survival, "transitions": draw_transitions, "read": draw_read,
    "assay": draw_assay, "assays": draw_assays,
}  # fmt: skip
"""Figures of a fit by name."""


def _figures(of: Fitted) -> Iterator[Figure]:
    who = f"{of.counted.name}, {count(of.counted.patients, 'patient')}"
    end = of.counted.followed.endpoint
    said = ("true class, 95 % CrI", "Kaplan–Meier as read", "extrapolated")
    yield Figure(
        "joint-survival", f"{endpoint_name(end)} by true class",
        curves.survival(_curves(of), _ticks(of), end, said),
        f"{who}. Posterior survival of the patients in each true class at recurrence, over the "
        "Kaplan–Meier curve of patients read as that class. The bands are drawn together by the "
        "prior, the steps by misreading.",
    )  # fmt: skip
    yield Figure(
        "joint-flow", "True class and class as read, primary to recurrence",
        svg(draw_transitions(of), draw_read(of)),
        f"{who}. First: true classes. Second: classes as read, as the model expects them. Heights "
        "are posterior medians in percent of all patients.",
    )  # fmt: skip
    if "misclassification" not in of.counted.data["assay"]:
        drawn = _assay_lines(of)
        yield Figure(
            "joint-assay", "How true classes are read: prior and posterior",
            svg(flows.intervals(drawn, label="% of the true class", remark="contraction"),
                key=flows.key(drawn)),
            f"{who}. 95 % CrI. Contraction is 1 minus the ratio of posterior to prior variance: "
            "near 0 the prior says what the assay is like.",
        )  # fmt: skip
    if "assays" in of.refitted:
        yield Figure(
            "joint-assays", "True change by accuracy of the assay", svg(draw_assays(of)),
            f"{who}. The model fitted again with the assay known almost exactly, the default error "
            "rates times 0 to 2.5.",
        )  # fmt: skip


def _tables(of: Fitted) -> Iterator[Table]:
    yield Table(
        "True class and class as read", _main_rows(of),
        f"Posterior and prior median with 95 % CrI. {OF_RATIOS}",
    )  # fmt: skip
    yield Table(
        "True class given both readings", _given_readings(of),
        GIVEN_BOTH,
    )  # fmt: skip
    if "identified" in of.refitted:
        yield Table(
            "What tells error from change", of.refitted["identified"],
            "Mean accuracy over classes with its contraction against the prior, and the answers: "
            "under the prior, from readings alone, and with survival.",
        )  # fmt: skip
    if "assays" in of.refitted:
        yield Table(
            "Answers by assay", of.refitted["assays"],
            "Each row a fit with the errors known almost exactly: default error rates times scale.",
        )  # fmt: skip


OF_RATIOS = (
    "her2 and her2_change are true classes and their change, read and read_change as read. Hazard "
    "ratios between classes as read follow from the true classes behind them; a dilution is the "
    "log ratio as read divided by that of the true classes. P: posterior probability of a ratio "
    "below 1."
)
GIVEN_BOTH = (
    "Probability of each true class at recurrence, and that the true class changed, in percent: "
    "medians, which need not add up to 100, with 95 % CrI."
)


def _main_rows(of: OfTrueClasses) -> pd.DataFrame:
    kinds = ("read_discordance", "true_discordance", "unchanged_given_observed_change",
             "hazard_ratio", "dilution", "rmst")  # fmt: skip
    table = of.estimates()
    chosen = table[table["estimand"].str.split("[").str[0].isin(kinds)]
    return pd.DataFrame(
        {
            "Estimand": chosen["estimand"],
            "Posterior": [_three(row) for _, row in chosen.iterrows()],
            "Prior": [_prior(row) for row in chosen.to_dict("records")],
            "Contraction": chosen["contraction"],
            "P": [probability(p) for p in chosen["posterior_probability"]],
            "Note": chosen["note"],
        }
    )


def _prior(row: Mapping[Any, Any]) -> str:
    return interval(*_ends(row, "prior"), unit=str(row["unit"]))


def _ends(row: Mapping[Any, Any], group: str) -> tuple[float, float, float]:
    """Median, lower and upper end."""
    return (float(row[f"{group}_median"]), float(row[f"{group}_lower"]),
            float(row[f"{group}_upper"]))  # fmt: skip


def _given_readings(of: OfTrueClasses) -> pd.DataFrame:
    table = of.estimates().set_index("estimand")
    rows = []
    for first in of.classes:
        for second in of.classes:
            given = (("read", second), ("read_primary", first))
            row = {"Primary read as": first, "Recurrence read as": second}
            for name in of.classes:
                row[f"truly {name}"] = _three(
                    table.loc[str(Estimand("true_class", f"her2={name}", given))]
                )
            row["truly changed"] = _three(table.loc[str(Estimand("true_class", "change", given))])
            rows.append(row)
    return pd.DataFrame(rows)


def over_cohorts(of: OverCohorts) -> Section:
    """Report the joint model over cohorts reconstructed from a paper."""
    first, end = of.members[0], of.counted.followed.endpoint
    card = fit_card(
        Fit(first.tree, first.fit.provenance),
        f"Joint model, cohort 1 of {len(of.members)}",
        first.estimates(),
        judged(first),
    )
    return Section(
        id="joint",
        title=f"True HER2 status behind printed numbers: assay, change and {endpoint_name(end)}",
        paragraphs=(
            *_of_imputation(of),
            *_paragraphs(of, [one.counted for one in of.members]),
        ),
        figures=(
            Figure(
                "joint-survival", f"{endpoint_name(end)} by true class",
                curves.survival(_over_curves(of), _ticks(first), end, OVER_COHORTS),
                f"{len(of.members)} reconstructed cohorts of {of.study}, not its data. Survival of "
                "the patients in each true class at recurrence, median and 95 % CrI over all "
                "cohorts; Kaplan–Meier curves and numbers at risk: one cohort, by class as read.",
            ),
        ),
        tables=(
            Table(
                "True class and class as read", _with_shares(_main_rows(of), of.determined()),
                f"Posterior over all cohorts, and prior: median with 95 % CrI. {OF_RATIOS} Last "
                "column: percent of the posterior variance that is reconstruction uncertainty, "
                "with its Monte-Carlo standard error; ratios on the log scale.",
            ),
            Table(
                "True class given both readings", _given_readings(of),
                GIVEN_BOTH,
            ),
        ),
        fits=(card,),
        main=("joint-survival", "True class and class as read"),
    )  # fmt: skip


def cohorts_section(of: OverCohorts) -> Section:
    """The cohorts before anything is said of them."""
    first = of.counted
    return Section(
        "cohort", "Cohorts",
        (
            f"{len(of.members)} cohorts of {count(first.patients, 'patient')} with "
            f"{count(first.followed.events, 'event')}, each with the printed numbers of "
            f"{of.study}; none is its data. Check of the chains that made them: {of.chains}.",
        ),
    )  # fmt: skip


def _of_imputation(of: OverCohorts) -> Iterator[str]:
    """What stands behind every number over reconstructed cohorts."""
    yield (
        f"Multiple imputation: the joint model was fitted to each of {len(of.members)} cohorts of "
        f"{count(of.counted.patients, 'patient')} that have the printed numbers of {of.study}, and "
        "the draws of all stand together. No cohort is the paper's data. The model that made the "
        "cohorts knows nothing of misreading, so that the two are uncongenial: intervals need not "
        "cover as often as they say."
    )
    yield (
        "What survival seems to tell of errors of the assay comes in part from that model, which "
        "fills in who died wherever the paper does not print survival by both readings. What the "
        "two readings tell comes from the printed counts."
    )


def _with_shares(table: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """The share of each variance in place of the notes, which say it at length."""
    known = {
        row["estimand"]: f"{100 * row['share']:.0f} (SE {100 * row['error']:.0f})"
        for row in shares.to_dict("records") if np.isfinite(row["share"])
    }  # fmt: skip
    said = [known.get(name, "") for name in table["Estimand"]]
    return table.drop(columns="Note").assign(**{"Reconstruction uncertainty, %": said})


OVER_COHORTS = (
    "true class, 95 % CrI over cohorts",
    "Kaplan–Meier as read in one cohort",
    "extrapolated",
)
STEPS = 49
"""Points at which survival over cohorts is drawn."""


def draw_over_cohorts(of: OverCohorts) -> Drawing:
    """Survival by true class over all cohorts with 95 % bands, over Kaplan–Meier of one cohort."""
    said = OVER_COHORTS
    head = f"Band: {said[0]}; step: {said[1]}; dotted: {said[2]}"
    end = of.counted.followed.endpoint
    return curves.draw_survival(_over_curves(of), _ticks(of.members[0]), end, head)


def _over_curves(of: OverCohorts) -> list[Curve]:
    grid = np.linspace(0.0, of.counted.followed.last_time, STEPS)
    wanted = {
        given_of("her2", name): quantities("survival", 0.0, grid, on_grid=True)
        for name in of.classes
    }
    alive = [
        mean_curves(one.survival.group("posterior"), one.survival.cells, wanted)
        for one in of.members
    ]
    found = []
    for curve in _curves(of.members[0]):
        given = given_of("her2", curve.label)
        drawn = chained([one[given]["survival"] for one in alive])
        found.append(replace(curve, band=band(drawn, grid)))
    return found
