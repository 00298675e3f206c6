"""How long chains over cohorts run and where they move; a study may choose what suits its numbers.

``[chains]`` in its ``reconstruction.toml`` holds any of the names of ``Settings`` but the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from her2bayes.cohorts.printed.interpretations import CHOICES, choices
from her2bayes.errors import BadInput, Fault

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study


SHARPEST = 800.0  # sharpness of the last place: many of its cohorts are at distance 0


@dataclass(frozen=True)
class Settings:
    """Chains, replicas in each, sweeps left out and kept; what a replica does in a sweep.

    ``softest`` is the sharpness of the softest place: there all that is slow must move freely.
    ``moves`` at the sharpest and ``soft_moves`` at the softest place, even between; ``ridges`` at
    soft places; every so many sweeps (0 = never) a reheat: soft places, between, the sharpest.
    """

    chains: int = 4
    replicas: int = 17
    softest: int = 4
    warm: int = 400
    sweeps: int = 3600
    moves: int = 600
    soft_moves: int = 600
    ridges: int = 1
    reheats: tuple[int, int, int] = (6, 12, 12)
    seed: int = 20230221


def settings_of(study: Study, **changes: Any) -> Settings:
    """Settings that a study chooses, with changes; raises ``BadInput`` with every fault."""
    chosen = dict(choices(study).get("chains", {}))
    names = [field.name for field in fields(Settings) if field.name != "seed"]
    faults = []
    for name, value in chosen.items():
        numbers = value if name == "reheats" and isinstance(value, list) else [value]
        good = all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in numbers)
        if name not in names:
            faults.append(_fault(study, "no such setting", name, ", ".join(names)))
        elif name == "reheats" and (len(numbers) != 3 or not good):
            faults.append(_fault(study, "reheats", value, "three whole numbers, 0 or more"))
        elif not good or (value == 0 and name != "ridges"):
            faults.append(_fault(study, name, value, "a whole number above 0"))
        elif name == "softest" and value >= SHARPEST:
            faults.append(_fault(study, name, value, f"below {SHARPEST:g}, the sharpest place"))
    if faults:
        raise BadInput(faults)
    if "reheats" in chosen:
        chosen["reheats"] = tuple(chosen["reheats"])
    return Settings(**{**chosen, **changes})


def _fault(study: Study, problem: str, value: object, allowed: str) -> Fault:
    place = study.folder / CHOICES
    return Fault(f"[chains] {problem}", file=place, value=value, allowed=allowed)
