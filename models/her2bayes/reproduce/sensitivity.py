"""Do conclusions survive? Whose they are, who answers them, and every scenario of that."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.conclusions import FILE, Conclusion, read_conclusion
from her2bayes.evidence.printed.tables import load_conclusions, vocabulary
from her2bayes.inference.sampling import Settings
from her2bayes.inference.workers import cluster
from her2bayes.sensitivity import run
from her2bayes.sensitivity.execution import Progress
from her2bayes.sensitivity.run import Sensitivity
from her2bayes.sensitivity.scenarios import Grid, read_grid
from her2bayes.sensitivity.summary import Limits
from her2bayes.sensitivity.target import Target

if TYPE_CHECKING:
    from her2bayes.evidence.patients.cohort import Cohort
    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.evidence.printed.study import Study
    from her2bayes.evidence.printed.vocabulary import Vocabulary
    from her2bayes.results.fitted import Fitted
    from her2bayes.survival.specification import Specification


@dataclass(frozen=True)
class Asked:
    """What is to be analysed: whose conclusions they are, and the targets that answer them."""

    about: Mapping[str, str]
    targets: tuple[Target, ...]


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
    return Asked(_about(study), tuple(run.study_targets(study, asked)))


def from_follow_up(
    follow_up: FollowUp,
    question: Specification,
    conclusions: Path,
    source: Path,
    *,
    elsewhere: Mapping[str, FollowUp] | None = None,
    definitions: Mapping[str, FollowUp] | None = None,
) -> Asked:
    """Conclusions on survival of a cohort, with other studies and other definitions."""
    from her2bayes.survival.sensitivity import target

    words = vocabulary(follow_up.factors, (follow_up.endpoint,))
    asked = load_conclusions(conclusions, words)
    about = {"id": question.study, "title": question.title, "citation": source.name, "doi": ""}
    made = target(follow_up, question, asked, elsewhere=elsewhere, definitions=definitions)
    return Asked(about, (made,))


def from_pairs(
    cohort: Cohort, conclusions: Path, definitions: Mapping[str, Cohort] | None = None
) -> Asked:
    """Conclusions on the change of HER2 class in a cohort with paired readings."""
    from her2bayes.transition.sensitivity_pairs import targets

    classes = {"her2": cohort.categories, "her2_primary": cohort.categories}
    asked = load_conclusions(conclusions, vocabulary({**cohort.factors, **classes}))
    about = {
        "id": cohort.id,
        "title": cohort.title,
        "citation": cohort.source.get("citation", ""),
        "doi": "",
    }
    return Asked(about, tuple(targets(cohort, asked, definitions)))


def sensitivity(
    target: Study | Fitted | Asked,
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
) -> Sensitivity:
    """Ask whether conclusions survive other priors, models, counts and readings.

    ``target`` is a study, a fit of one's own data, or what ``about_study`` and its like made.
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
    limits = Limits(holds)
    asked = _asked(target, conclusions)
    axes = [axis for one in asked.targets for axis in one.axes]
    wanted = read_grid(Path(grid), axes) if isinstance(grid, str | Path) else grid
    accept = 0.95 if any(one.family == "survival" for one in asked.targets) else 0.9
    settings = Settings(seed, quick, accept)
    start = monotonic()
    with ExitStack() as stack:
        folder = Path(store or stack.enter_context(TemporaryDirectory(prefix="her2-scenarios-")))
        if not resume:
            forget(folder)

        @cache
        def client() -> Any:
            with _importable_nowhere():
                return stack.enter_context(cluster(scheduler, workers))

        found = run.run(
            asked.targets,
            settings.sampling,
            folder,
            client,
            grid=wanted,
            limits=limits,
            reweight=reweight,
            surfaces=surfaces,
            progress=progress,
            fits=None if fits is None else Path(fits),
        )
    minutes = (monotonic() - start) / 60
    return replace(found, about=asked.about, settings=settings, minutes=minutes)


def _asked(target: Study | Fitted | Asked, conclusions: str | Path | Sequence[str] | None) -> Asked:
    """What is asked of whom; every statement is read before anything is fitted."""
    from her2bayes.evidence.printed.study import Study

    if isinstance(target, Asked):
        return target
    if isinstance(target, Study):
        return about_study(target, conclusions)
    if conclusions is None:
        remedy = 'give statements, e.g. ["hazard_ratio[os ; her2: positive vs low] < 1"]'
        raise BadInput(Fault("a fit has no conclusions of its own", remedy=remedy))
    about = {"id": target.family, "title": target.title, "citation": "", "doi": ""}
    about |= dict(target.part().about)
    return Asked(about, tuple(target.targets(read_conclusions(conclusions, None))))


def read_conclusions(
    given: str | Path | Sequence[str], words: Vocabulary | None
) -> tuple[Conclusion, ...]:
    """Statements as conclusions, or those of a CSV file; ``BadInput`` with every fault.

    ``words`` are the factors, levels and endpoints that exist, where they are known.
    """
    if isinstance(given, Path) or (isinstance(given, str) and given.endswith(".csv")):
        if words is None:
            remedy = "give the statements as texts"
            raise BadInput(Fault("a file of conclusions needs its patients", given, remedy=remedy))
        return load_conclusions(Path(given), words)
    found, faults = [], []
    for place, text in enumerate([given] if isinstance(given, str) else given, 1):
        read, wrong = read_conclusion(text, words)
        faults += wrong
        found += [] if read is None else [replace(read, id=f"c{place}")]
    raise_if(faults)
    return tuple(found)


@contextmanager
def _importable_nowhere() -> Iterator[None]:
    """Let worker processes start without running the user's script again.

    A new process imports the file of ``__main__``; a script without the usual guard would ask for
    its workers again there, and fail.
    """
    main = sys.modules["__main__"]
    names = ("__file__", "__spec__")
    kept = {name: getattr(main, name) for name in names if hasattr(main, name)}
    try:
        for name in kept:
            delattr(main, name)
        main.__spec__ = None
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


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


def forget(folder: Path) -> None:
    """Remove stored scenarios, so that everything is computed again."""
    for path in folder.glob("*.nc"):
        path.unlink()
