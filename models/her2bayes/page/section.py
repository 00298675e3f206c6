"""The pieces a page is made of: sections with text, figures, tables and the fits behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypedDict

import pandas as pd


class FitCard(TypedDict, total=False):
    """What a reader must know to judge a fit; every value is plain text, escaped by the page.

    ``model`` names the module and ``equations`` is its docstring; ``priors`` maps a name to the
    distribution and what it says in clinical units; ``diagnostics`` maps a name to a printed
    value (R-hat, ESS, E-BFMI, divergences); ``convergence`` is the verdict's text ("converged" or
    "not converged: ..."); ``provenance`` maps a name to a printed value; ``checks`` are the rows of
    the predictive checks, ``warnings`` sentences on those that are rare, ``plots`` pairs of what a
    plot of the draws shows and its PNG in base 64. ``power`` are quantities with their
    sensitivities to prior and likelihood, ``compared`` the models that ``unit`` (what is left out)
    was predicted by, best first, ``repeated`` how often sampling was repeated.
    """

    fit_id: str
    title: str
    model: str
    equations: str
    priors: Mapping[str, str]
    diagnostics: Mapping[str, str]
    convergence: str
    provenance: Mapping[str, str]
    checks: Sequence[Mapping[str, str]]
    warnings: Sequence[str]
    plots: Sequence[tuple[str, str]]
    power: Sequence[tuple[str, float, float]]
    compared: Sequence[Mapping[str, Any]]
    unit: str
    repeated: bool


@dataclass(frozen=True)
class Figure:
    """A vector drawing and its words.

    ``id`` is unique on the page (``plain_name`` makes it safe); ``svg`` comes from
    ``page.style.svg`` and is the only text a page does not escape; ``caption`` is plain text
    and names the patients shown; ``alt`` says in one or two sentences what a reader without the
    drawing should know (the title where it is empty).
    """

    id: str
    title: str
    svg: str
    caption: str
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """A printed table: text cells stay as they are, numbers get three significant digits.

    Columns named ``fit_id`` and ``claim_id`` become links to the fit and to the evidence row. A
    table with the title of a figure of its section is folded under that figure. The values of the
    columns named in ``choose`` become lists to choose from, each narrowing the next; the page shows
    the rows chosen and, without a script, all of them.
    """

    title: str
    frame: pd.DataFrame
    caption: str = ""
    choose: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One analysis of a study: ``paragraphs`` are plain text, one string a paragraph.

    ``links`` lead to files beside the page: (name of the file, what it says). The page of a study
    shows the first three sentences, one figure and one table, and folds the rest; ``main`` names
    them by the id of the figure and the title of the table, where they are not the first of each.
    """

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    fits: tuple[FitCard | Mapping[str, Any], ...] = field(default=())
    links: tuple[tuple[str, str], ...] = ()
    main: tuple[str, ...] = ()


def plain_name(text: str) -> str:
    """Make text safe as an id and as the name of a file: ASCII letters, digits, hyphens, ``_``.

    A text that has to change ends with four digits of its hash, so that two never become one.
    """
    plain = re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")
    return plain if plain == text else f"{plain}-{sha256(text.encode()).hexdigest()[:4]}".strip("-")
