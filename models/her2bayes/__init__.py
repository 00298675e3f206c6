"""Bayesian workbench for HER2 status, its transitions and survival in breast cancer.

The names below are the whole interface; each is imported when it is first used, so that
``import her2bayes`` loads neither PyMC nor pandas.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from her2bayes.version import __version__

if TYPE_CHECKING:
    from her2bayes.audit.audit import audit as audit
    from her2bayes.bayes.prior import prior as prior
    from her2bayes.calibration.run import calibrate as calibrate
    from her2bayes.cohorts.fitted import reconstruct as reconstruct
    from her2bayes.distribution.fitted import fit_distribution as fit_distribution
    from her2bayes.errors import BadInput as BadInput
    from her2bayes.estimand import Estimand as Estimand
    from her2bayes.evidence.patients.counts import read_counts as read_counts
    from her2bayes.evidence.patients.digitised import read_curve as read_curve
    from her2bayes.evidence.patients.patients import read_patients as read_patients
    from her2bayes.evidence.printed.study import load_study as load_study
    from her2bayes.evidence.printed.study import studies as studies
    from her2bayes.inference.sampling import Sampling as Sampling
    from her2bayes.joint.fitted import fit_joint as fit_joint
    from her2bayes.rates.fitted import fit_adverse_events as fit_adverse_events
    from her2bayes.rates.fitted import fit_response as fit_response
    from her2bayes.reproduce.build import report as report
    from her2bayes.reproduce.sensitivity import sensitivity as sensitivity
    from her2bayes.results.fitted import compare as compare
    from her2bayes.results.fitted import load_fit as load_fit
    from her2bayes.survival.fitted import fit_survival as fit_survival
    from her2bayes.synthesis.fitted import synthesise as synthesise
    from her2bayes.transition.fitted import fit_transitions as fit_transitions

_PUBLIC = {
    "load_study": "evidence.printed.study",
    "studies": "evidence.printed.study",
    "read_patients": "evidence.patients.patients",
    "read_counts": "evidence.patients.counts",
    "read_curve": "evidence.patients.digitised",
    "audit": "audit.audit",
    "prior": "bayes.prior",
    "BadInput": "errors",
    "Estimand": "estimand",
    "fit_distribution": "distribution.fitted",
    "Sampling": "inference.sampling",
    "fit_response": "rates.fitted",
    "fit_adverse_events": "rates.fitted",
    "fit_transitions": "transition.fitted",
    "fit_joint": "joint.fitted",
    "load_fit": "results.fitted",
    "report": "reproduce.build",
    "sensitivity": "reproduce.sensitivity",
    "compare": "results.fitted",
    "fit_survival": "survival.fitted",
    "reconstruct": "cohorts.fitted",
    "synthesise": "synthesis.fitted",
    "calibrate": "calibration.run",
}
"""Public name -> module that defines it."""

__all__ = ["__version__", *_PUBLIC]


def _public(name: str) -> Any:
    return getattr(import_module(f"her2bayes.{_PUBLIC[name]}"), name)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'her2bayes' has no attribute '{name}'")
    value = _public(name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)


class _Room(ModuleType):
    """A folder called like the function it is known for: ``her2bayes.audit(study)`` calls that."""

    @property
    def __wrapped__(self) -> Any:
        """The function, for ``inspect.signature``."""
        return _public(self.__name__.rpartition(".")[2])

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """What the function says of itself."""
        doc: str | None = self.__wrapped__.__doc__
        return doc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function of the same name."""
        return self.__wrapped__(*args, **kwargs)


class _Package(ModuleType):
    """This package: importing a folder must not hide the public function of its name."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Make such a folder callable; the import of any file in it sets it here."""
        if name in _PUBLIC and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
