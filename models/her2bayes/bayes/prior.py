"""Priors as frozen values: on the page of each model, readable, hashable, refused when unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from her2bayes.errors import Fault, raise_if


@dataclass(frozen=True)
class Prior:
    """A named distribution with fixed parameters, e.g. ``prior("HalfNormal", sigma=0.5)``.

    ``means`` says in clinical units what it assumes; it takes no part in equality, in what a prior
    is printed as, nor in the identity of a fit.
    """

    distribution: str
    parameters: tuple[tuple[str, float | tuple[float, ...]], ...]
    means: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """Print as it is written."""
        inside = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.distribution}({inside})"

    def __getitem__(self, name: str) -> Any:
        """Value of one parameter."""
        return dict(self.parameters)[name]

    def scaled(self, factor: float) -> Prior:
        """Return the same prior with its scale (``sigma``) multiplied; its words hold no more."""
        return Prior(
            self.distribution,
            tuple((k, v * factor if k == "sigma" else v) for k, v in self.parameters),  # type: ignore[operator]
        )


def prior(distribution: str, *, means: str = "", **parameters: float | tuple[float, ...]) -> Prior:
    """Write a prior: a distribution's name, its parameters, and what it ``means`` clinically.

    The scale is that of the model's parameter (log hazard, logit). ``means`` is shown by
    ``print(fit)`` and on the page; it changes no number. A model refuses names it does not know.

    >>> prior("Normal", mu=0.0, sigma=0.75, means="hazard ratio 1, 95 % between 0.23 and 4.3")
    Prior(distribution='Normal', parameters=(('mu', 0.0), ('sigma', 0.75)))
    >>> print(prior("HalfNormal", sigma=0.5))
    HalfNormal(sigma=0.5)
    """
    return Prior(distribution, tuple(sorted(parameters.items())), means=means)


def complete(
    given: Mapping[str, Prior] | None,
    default: Mapping[str, Prior],
    *,
    same_family: bool = False,
) -> dict[str, Prior]:
    """Fill the gaps in ``given`` from ``default``.

    A name the model does not know and a prior that is no distribution are errors. ``same_family``
    is for models whose graph fixes the distributions: only parameters may differ.
    """
    given = given or {}
    faults = [
        Fault(
            f"the model has no prior named '{name}'",
            value=str(given[name]),
            allowed=", ".join(default),
            remedy="use one of the names listed",
        )
        for name in given
        if name not in default
    ]
    faults += [
        Fault(
            f"the prior '{name}' of this model is of another family",
            value=str(given[name]),
            allowed=f"{default[name].distribution} with {', '.join(_names(default[name]))}",
            remedy="change its parameters only",
        )
        for name in given
        if same_family and name in default and _kind(given[name]) != _kind(default[name])
    ]
    raise_if([*faults, *_impossible(given)])
    return {**default, **given}


def _impossible(given: Mapping[str, Prior]) -> list[Fault]:
    """Faults of priors that are no distributions: numbers without end, scales not above 0."""
    return [
        Fault(
            f"the prior '{name}' is no distribution",
            column=parameter,
            value=value,
            allowed="a finite number, above 0 for a scale or concentration",
        )
        for name, one in given.items()
        for parameter, value in one.parameters
        if not _possible(parameter, value)
    ]


_POSITIVE = ("sigma", "concentration", "a", "alpha", "beta", "nu", "lam", "eta")


def _possible(parameter: str, value: float | tuple[float, ...]) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return all(isfinite(one) and (one > 0 or parameter not in _POSITIVE) for one in numbers)


def _names(one: Prior) -> list[str]:
    return [name for name, _ in one.parameters]


def _kind(one: Prior) -> tuple[str, list[str]]:
    return one.distribution, _names(one)
