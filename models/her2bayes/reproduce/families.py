"""The analyses a report can hold; a new one is one line here and a folder of its own.

``answers`` gives ``applies(study) -> bool`` and ``run(study, store, sampling)`` (with ``say``
where it tells of its steps), whose result holds ``estimates`` and, where it has any, ``classical``
(both keyed by estimand); ``report`` gives ``section(result) -> Section`` with the fits behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from her2bayes.page.section import Section

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store


@dataclass(frozen=True)
class Family:
    """One analysis by its modules; ``missing`` says what a paper without it lacks."""

    name: str
    label: str
    missing: str
    answers: str
    report: str

    def applies(self, study: Study) -> bool:
        """Tell whether the printed evidence of a study allows the analysis."""
        return bool(import_module(f"her2bayes.{self.answers}").applies(study))

    def run(
        self,
        study: Study,
        store: Store | None,
        sampling: Sampling,
        say: Callable[[str], None],
    ) -> Any:
        """Fit what the analysis fits, or read it from the store; ``say`` is told of each step."""
        run = import_module(f"her2bayes.{self.answers}").run
        told = {"say": say} if "say" in signature(run).parameters else {}
        return run(study, store, sampling, **told)

    def section(self, result: Any) -> Section:
        """Report a result."""
        section: Section = import_module(f"her2bayes.{self.report}").section(result)
        return section


FAMILIES = (
    Family(
        "distribution",
        "HER2 status distribution",
        "no table of HER2 status (zero, low, positive) is printed, so shares are not modelled",
        "distribution.estimates",
        "distribution.section",
    ),
    Family(
        "transition",
        "HER2 status from primary to recurrence",
        "no fact on pairs of primary and recurrence is printed",
        "transition.paper",
        "transition.section",
    ),
    Family(
        "reconstructed_survival",
        "Survival from printed numbers",
        "reconstruction.toml beside it names no endpoint to report",
        "cohorts.analysis",
        "cohorts.section",
    ),
    Family(
        "response",
        "Response",
        "no responses are printed",
        "rates.responses",
        "rates.section_response",
    ),
    Family(
        "adverse_events",
        "Adverse events",
        "no adverse events are printed",
        "rates.events",
        "rates.section_events",
    ),
)
