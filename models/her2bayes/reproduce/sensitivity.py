"""Do conclusions survive? Whose they are, who answers them, and every scenario of that."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients.cohort import Cohort, read_cohort, reclassified
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.maps import load_map, map_path
from her2bayes.evidence.printed.tables import FILE, vocabulary
from her2bayes.page.report import slug
from her2bayes.sensitivity.run import (
    Asked,
    about_fit,
    answer,
    for_no_patients,
    read_conclusions,
    study_targets,
)
from her2bayes.sensitivity.section import Sensitivity
from her2bayes.sensitivity.summary import Limits
from her2bayes.sensitivity.target import Grid
from her2bayes.sensitivity.worker import Progress

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.results.fitted import Fitted
    from her2bayes.survival.doors import Reading, Specification


def about_study(
    study: Study, conclusions: str | Path | Sequence[str] | None = None, out: Path | None = None
) -> Asked:
    """Conclusions of a study, or others; ``out`` is the folder of reports, checked first."""
    asked = read_conclusions(conclusions, study.words) if conclusions else study.conclusions
    if not asked:
        remedy = f"write {FILE} into the folder (data/README.md), or give --conclusions FILE"
        raise BadInput(Fault("the study lists no conclusions", file=study.folder, remedy=remedy))
    if out is not None:
        _check_folder(study, out)
    return Asked(_about(study), tuple(study_targets(study, asked)))


def about_patients(
    data: Any,
    conclusions: str | Path | Sequence[str] | None,
    how: Reading,
    fitted: Specification,
    external: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Asked:
    """Conclusions on patients: on their survival, or with a column map alone on paired readings.

    ``how`` says which columns mean what, ``fitted`` what ``fit_survival`` would fit. ``say`` is
    told who is in the cohort; every fault comes before any fit.
    """
    if conclusions is None or data is None:
        remedy = "give --conclusions FILE (format: conclusions.csv in data/README.md)"
        raise BadInput(Fault("a cohort has no conclusions of its own", remedy=remedy))
    if how.map and not how.time:
        return _pairs(Path(data), conclusions, how.map, say)
    if not how.time:
        remedy = "give --time and --event for survival, or --map for paired readings"
        raise BadInput(Fault("what is asked of the cohort is not clear", remedy=remedy))
    from her2bayes.survival import doors
    from her2bayes.survival.sensitivity import target

    patients = doors.read(data, how)
    own, factors = patients.follow_up, how.factors
    cohorts = definitions(patients.cohort, Path(data), how.map) if patients.cohort else {}
    elsewhere = patients.elsewhere(list(external), factors, how.member) if external else {}
    if external and how.frailty:
        problem = "external patients belong to none of the groups of --frailty"
        value = ", ".join(how.frailty)
        raise BadInput(Fault(problem, value=value, remedy="leave one of them out"))
    for line in doors.cohort_text(own, patients.title):
        say(line)
    fitted = replace(fitted, study=fitted.study or slug(patients.name), title=patients.title)
    asked = read_conclusions(conclusions, vocabulary(own.factors, (own.endpoint,)))
    citation = Path(data).name if isinstance(data, str | Path) else patients.name
    about = {"id": fitted.study, "title": fitted.title, "citation": citation, "doi": ""}
    defined = follow_ups(cohorts, own, factors, **patients.columns)
    made = target(own, fitted, asked, elsewhere=elsewhere, definitions=defined)
    return Asked(about, (made,))


def _pairs(
    where: Path, conclusions: str | Path | Sequence[str], name: str, say: Callable[[str], None]
) -> Asked:
    """Conclusions on the change of HER2 class in a cohort with paired readings."""
    from her2bayes.transition.cohort import flow_text, read_cohorts
    from her2bayes.transition.sensitivity_pairs import targets

    cohort = read_cohorts([where], [name])
    say(flow_text(cohort))
    classes = {"her2": cohort.categories, "her2_primary": cohort.categories}
    asked = read_conclusions(conclusions, vocabulary({**cohort.factors, **classes}))
    about = {"id": cohort.id, "title": cohort.title, "doi": ""}
    about["citation"] = cohort.source.get("citation", "")
    return Asked(about, tuple(targets(cohort, asked, definitions(cohort, where, name))))


def _from_options(
    data: Any, conclusions: str | Path | Sequence[str] | None, options: Mapping[str, Any]
) -> Asked:
    """Patients with the arguments of ``fit_survival``; ``BadInput`` names the unknown ones."""
    from her2bayes.survival.doors import Reading, Specification, cut_scheme, elicited

    reading = {one.name for one in fields(Reading)}
    fitting = {"model", "nested", "interactions"}
    known = {*reading, *fitting, "cuts", "prior_median", "priors", "external"}
    raise_if(
        [
            Fault("no such argument", value=name, allowed=", ".join(sorted(known)))
            for name in options
            if name not in known
        ]
    )
    by, frailty = options.get("by") or (), options.get("frailty") or ()
    by = dict(by) if isinstance(by, Mapping) else dict.fromkeys([by] if isinstance(by, str) else by)
    frailty = (frailty,) if isinstance(frailty, str) else tuple(frailty)
    said = {name: value for name, value in options.items() if name in reading}
    how = Reading(**{"time": "", **said, "by": by, "frailty": frailty})
    scheme, intervals = cut_scheme(options.get("cuts", "quantile"))
    priors = {**elicited(options.get("prior_median", ())), **(options.get("priors") or {})}
    asked = {name: options[name] for name in fitting if name in options}
    fitted = Specification(
        study="", **asked, cuts=scheme, intervals=intervals, frailty=frailty, priors=priors
    )
    external = options.get("external") or ()
    files = [external] if isinstance(external, str | Path) else external
    return about_patients(data, conclusions, how, fitted, [Path(file) for file in files])


def sensitivity(
    target: Study | Fitted | Asked | Any,
    conclusions: str | Path | Sequence[str] | None = None,
    *,
    grid: str | Path | Grid | None = None,
    holds: float = 0.975,
    reweight: bool = True,
    surfaces: bool = True,
    scheduler: str = "",
    workers: int = 2,
    resume: bool = True,
    store: str | Path | None = None,
    fits: str | Path | None = None,
    seed: int = 20230221,
    quick: bool = False,
    progress: Progress = lambda *_: None,
    **patients: Any,
) -> Sensitivity:
    """Ask whether conclusions survive other priors, models, counts and readings.

    ``target`` is a study, a fit of one's own data, or patients: a path, a data frame or patients
    that were read, with the arguments of ``fit_survival`` (``time``, ``event``, ``by``, ``map``,
    ``external``, ...), or the folder of a study with ``map`` alone for paired readings. With a map
    other definitions of classes and of receptor status are choices, with ``external`` the weight
    of patients elsewhere is.
    ``conclusions`` are statements ``"<estimand> > <number>"`` (shares between 0 and 1, times in
    months), a CSV file of them, or None for those of the study. Each choice is changed alone, and
    the two numeric choices that move a conclusion most are then crossed (``surfaces``).

    ``grid``: a TOML file with values of the choices, ``[axes]`` and ``cross``. ``holds``: the
    probability from which a conclusion holds, and from that of its opposite it fails.
    ``reweight=False`` refits every scenario. Scenarios run in ``workers`` processes of this
    machine, or on the workers of a dask ``scheduler``; finished ones are kept in the folder
    ``store`` and found there again unless ``resume`` is False. ``fits`` is the folder of a
    report's fits, from which the analysis as reported is read. ``progress`` is told of scenarios
    done, of all, and of the last one.

    Returns an object that prints a line a conclusion, with ``frame`` (one row a conclusion and
    scenario), ``summary``, ``figures``, ``section()`` and ``write(folder)``. Raises ``BadInput``
    before the first fit for statements that cannot be read or that nothing here answers.

    >>> import her2bayes as hb
    >>> found = hb.sensitivity(hb.load_study("shi2023"))  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    """
    Limits(holds)  # a limit that cannot be is said before patients are read
    return answer(
        _asked(target, conclusions, patients),
        grid=grid,
        holds=holds,
        reweight=reweight,
        surfaces=surfaces,
        scheduler=scheduler,
        workers=workers,
        resume=resume,
        store=store,
        fits=fits,
        seed=seed,
        quick=quick,
        progress=progress,
    )


def _asked(
    target: Any, conclusions: str | Path | Sequence[str] | None, patients: Mapping[str, Any]
) -> Asked:
    """What is asked of whom; every statement is read before anything is fitted."""
    from her2bayes.evidence.printed.study import Study
    from her2bayes.results.fitted import Fitted

    if not isinstance(target, Asked | Study | Fitted):
        return _from_options(target, conclusions, patients)
    for_no_patients(patients)
    if isinstance(target, Asked):
        return target
    if isinstance(target, Study):
        return about_study(target, conclusions)
    return about_fit(target, conclusions)


def _about(study: Study) -> dict[str, str]:
    about = {"id": study.id, "title": study.title, "digest": study.digest}
    return about | {key: str(study.meta.get(key, "")) for key in ("citation", "doi")}


def _check_folder(study: Study, out: Path) -> None:
    folder = out / study.id
    faults = []
    if folder.resolve() == study.folder.resolve():
        remedy = "give another --out"
        faults.append(Fault("the results would land among the inputs", folder, remedy=remedy))
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        remedy = "give a folder that can be written"
        faults.append(Fault("the results cannot be written here", existing, remedy=remedy))
    raise_if(faults)


PERCENT = (1.0, 10.0)


def definitions(cohort: Cohort, where: Path, map_name: str) -> dict[str, Cohort]:
    """IHC 2+ without amplification as zero; ER and PR positive from the other usual percentage.

    Those that change no patient are left out.
    """
    found: dict[str, Cohort] = {}
    if "zero" in cohort.categories:
        other = reclassified(cohort, cohort.scheme.counting("2", "zero"))
        if _differ(cohort, other, "primary_reading", "recurrence_reading"):
            found["IHC 2+/ISH− counted as zero"] = other
    mapped = load_map(map_path(map_name))
    if not any({"er", "pr"} & set(block) for block in mapped.blocks.values()):
        return found
    now = float(mapped.rules["hr_threshold"])
    percent = next(p for p in PERCENT if p != now)
    other = read_cohort(replace(mapped, rules={**mapped.rules, "hr_threshold": percent}), where)
    if _differ(cohort, other, "hr_status"):
        found[f"ER and PR positive from {percent:g} %"] = other
    return found


def follow_ups(
    cohorts: Mapping[str, Cohort], own: FollowUp, by: Mapping[str, Any], **columns: Any
) -> dict[str, FollowUp]:
    """Follow-up of the patients under each definition that keeps every level."""
    from her2bayes.evidence.patients.patients import single_classes

    found = {}
    for name, cohort in cohorts.items():
        frame = single_classes(cohort)
        levels = dict(zip(by, own.factors.values(), strict=True))
        known = {factor: set(frame[factor].astype(str)) for factor in levels}
        if all(set(wanted) <= known[factor] for factor, wanted in levels.items()):
            found[name] = read_follow_up(frame, by=levels, **columns)
    return found


def _differ(one: Cohort, other: Cohort, *columns: str) -> bool:
    names = list(columns)
    return not one.patients[names].equals(other.patients[names])
