"""What is wrong with an input, where, and what to do: one exception, many faults, exit codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name most like the given one, upper and lower case alike, if any is."""
    folded = {name.casefold(): name for name in known if name}
    near = get_close_matches(given.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a remedy: the nearest known name, or to use one of those listed."""
    name = nearest(given, known)
    return f"did you mean '{name}'?" if name else "use one of those listed"


EXIT_DONE = 0
EXIT_INTERNAL = 1
EXIT_BAD_INPUT = 2
EXIT_NOT_CONVERGED = 3
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    ``problem`` is a sentence; ``row`` counts lines as a spreadsheet does (the header is row 1);
    ``allowed`` and ``remedy`` tell the reader what would be right and what to do.
    """

    problem: str
    file: str | Path | None = None
    row: int | None = None
    column: str | None = None
    value: object = None
    allowed: str | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        """Read as one line: place, problem, offending value, what is allowed, remedy."""
        place = ", ".join(
            part
            for part in (
                str(self.file) if self.file is not None else "",
                f"row {self.row}" if self.row is not None else "",
                f"column '{self.column}'" if self.column else "",
            )
            if part
        )
        text = f"{place}: {self.problem}" if place else self.problem
        if self.value is not None:
            text += f" (found {self.value!r})"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.remedy:
            text += f"; remedy: {self.remedy}"
        return text


class BadInput(Exception):  # noqa: N818 (reads as what it is: the input is bad, nothing failed inside)
    """Faults found in what the user gave; nothing has been written when it is raised.

    ``faults`` holds each with ``problem``, ``file``, ``row``, ``column``, ``value``, ``allowed``
    and ``remedy``; the message has one line a fault.

    >>> import her2bayes as hb
    >>> hb.Sampling(chains=1)
    Traceback (most recent call last):
    her2bayes.errors.BadInput: sampling setting 'chains' cannot be used (found 1); allowed: 2 or ...
    """

    def __init__(self, faults: Fault | Sequence[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def raise_if(faults: Sequence[Fault]) -> None:
    """Raise ``BadInput`` with all faults together where there is at least one."""
    if faults:
        raise BadInput(faults)
