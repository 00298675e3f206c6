"""The headline results of a paper or a cohort: published, reproduced and posterior, a row each.

A paper's are those of ``[headline]`` in its study.toml, a cohort's the first contrasts, shares and
rates its fits answer. Rows are those of the evidence table, so nothing is computed a second time.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.estimand import KINDS, parse
from her2bayes.files import csv_text, publish
from her2bayes.inference.convergence import failed
from her2bayes.page import style
from her2bayes.page.numbers import interval, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "key_results.csv"
NUMBERS = (
    *("published", "published_lower", "published_upper"),
    *("reproduced", "reproduced_lower", "reproduced_upper"),
    *("posterior_median", "posterior_lower", "posterior_upper"),
    *("prior_median", "prior_lower", "prior_upper"),
)
COLUMNS = (
    *("topic", "quantity", "claim_id", "locator", "estimand", "unit", "published_text"),
    *NUMBERS,
    *("verdict", "sensitivity", "model", "fit_id", "convergence"),
)
HEAD = ("Quantity", "Published", "Reproduced", "Posterior", "Verdict", "Sensitivity")
_OPTIONAL = ("Published", "Reproduced", "Verdict", "Sensitivity")
MOST_CHOSEN = 8
"""Rows of a cohort, which has no paper to say what its headline is."""

_TOPICS = {"transition": "Change of HER2 status", "survival": "Survival"}
_OF_KIND = {"response_rate": "Response", "event_rate": "Adverse events", "share": "HER2 status",
            "read_discordance": _TOPICS["transition"]}  # fmt: skip
_CHOSEN = ("read_discordance", "true_discordance", "hazard_ratio", "median", "number_to_rebiopsy",
           "discordance", "transition", "share", "response_rate", "event_rate")  # fmt: skip
_FACTORS = {"read": "class as read"}
_BESIDE_READ = _FACTORS | {"her2": "true class"}
"""Names of factors where classes as read stand beside true ones."""
_OVER_STUDIES = {"average": "in the average study", "new": "in a new study"}
_PERCENT = re.compile(r"([\d.·]+)\s*%")
_AS_PRINTED = 18  # characters; a longer text is a sentence and its numbers are shown instead


@dataclass(frozen=True, repr=False, eq=False)
class KeyResults:
    """Headline results of one study.

    ``frame`` has one row a result and ``COLUMNS``: percentages in percent, times in months, ratios
    as they are; intervals are 95 % confidence intervals (published, reproduced) and 95 % credible
    intervals (posterior, prior); NaN where there is no number.
    """

    study: str
    frame: pd.DataFrame

    @property
    def short(self) -> pd.DataFrame:
        """All rows in the columns that are read first, as text, without empty columns."""
        rows = [
            (
                row["quantity"],
                published(row),
                estimate(row, "reproduced", "reproduced"),
                estimate(row, "posterior_median", "posterior"),
                row["verdict"].replace("_", " "),
                row["sensitivity"],
            )
            for row in self.frame.to_dict("records")
        ]
        table = pd.DataFrame(rows, columns=list(HEAD))
        return table.drop(columns=[name for name in _OPTIONAL if not table[name].any()])

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence a topic, with the posterior where there is one, for quoting."""
        return tuple(said for _, said in self.topics())

    def topics(self) -> Iterator[tuple[str, str]]:
        """Topics in the order of the rows, each with its sentence."""
        for topic in dict.fromkeys(self.frame["topic"]):
            rows = self.frame[self.frame["topic"] == topic].to_dict("records")
            yield str(topic), sentence(rows)

    def figure(self, width: float = 170.0) -> Figure:
        """Forest of all rows, ``width`` in mm: published, reproduced, posterior, prior in grey."""
        return forest(self, width)

    def to_csv(self, file: str | Path) -> Path:
        """Write all rows, whole or not at all."""
        path = Path(file)
        publish(path.parent, {path.name: csv_text(self.frame)})
        return path

    def __len__(self) -> int:
        """Count the results."""
        return len(self.frame)

    def __str__(self) -> str:
        """Print the table, then the sentences."""
        if self.frame.empty:
            return f"{self.study}: no key results"
        table = str(self.short.to_string(index=False, max_colwidth=60))
        return "\n".join([f"Key results: {self.study}", table, *self.sentences])

    def _repr_html_(self) -> str:
        from html import escape

        said = "".join(f"<p>{escape(line)}</p>" for line in self.sentences)
        return str(self.short.to_html(index=False, border=0, escape=True)) + said

    def __repr__(self) -> str:
        """One line."""
        return f"<KeyResults of {self.study}: {len(self)} rows>"


def key_results(
    study: str,
    evidence: pd.DataFrame,
    headline: Mapping[str, str] | None = None,
    stances: Mapping[str, str] | None = None,
) -> KeyResults:
    """Take the headline rows of an evidence table.

    ``headline`` maps the ``claim_id`` of a printed row to the quantity in words; without it the
    rows of a cohort are chosen by their kind, and a paper has none. ``stances`` says of an estimand
    what the sensitivity analysis found.
    """
    records = {r["claim_id"]: r for r in evidence.to_dict("records") if r["claim_id"]}
    found: list[dict[Any, Any]]
    if headline:
        found = [{**records[c], "quantity": w} for c, w in headline.items() if c in records]
    else:
        found = [] if records else list(_chosen(evidence))
    known = stances or {}
    rows = [
        {**row, "topic": _topic(row["estimand"]), "sensitivity": known.get(row["estimand"], "")}
        for row in found
    ]
    order = list(dict.fromkeys(row["topic"] for row in rows))
    rows.sort(key=lambda row: order.index(row["topic"]))
    return KeyResults(study, pd.DataFrame(rows, columns=list(COLUMNS)))


def _topic(estimand: str) -> str:
    kind = parse(estimand).kind
    base = kind.removesuffix("_difference").removesuffix("_ratio")
    if kind in _OF_KIND or base in _OF_KIND:
        return _OF_KIND.get(kind, _OF_KIND.get(base, ""))
    return _TOPICS.get(next(iter(KINDS[kind].families), ""), "Other results")


def _chosen(evidence: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """First rows of a cohort: contrasts, then shares and rates without conditions.

    Of several studies: those of the average and of a new study.
    """
    rows = []
    read = bool(evidence["estimand"].str.startswith("read_discordance").any())
    for row in evidence.to_dict("records"):
        asked = parse(row["estimand"])
        stays = asked.kind == "transition" and len({*asked.outcome.split(" -> ")}) == 1
        over = asked.conditions.get("study") in _OVER_STUDIES
        part = bool(asked.given) and not over
        apart = part or (row["reading"] and not over) or stays or pd.isna(row["posterior_median"])
        if asked.kind in _CHOSEN and not (apart or (asked.kind == "median" and not over)):
            words = in_words(row["estimand"], _BESIDE_READ if read else _FACTORS)
            rows.append({**row, "quantity": words})
    rows.sort(key=lambda row: _CHOSEN.index(parse(row["estimand"]).kind))
    yield from rows[:MOST_CHOSEN]


def in_words(estimand: str, factors: Mapping[str, str] = _FACTORS) -> str:
    """Give a quantity that no paper named its words: kind, outcome and contrast."""
    asked = parse(estimand)
    of_all = asked.kind == "true_discordance"  # of HER2 status, of what else
    outcome = (
        "" if of_all else asked.outcome.replace("=", " ").replace("->", "to").replace("_", " ")
    )
    versus = asked.contrast
    factor = factors.get(versus.factor, versus.factor) if versus else ""
    contrast = f"{versus.a} vs {versus.b} ({factor})" if versus and versus.a else ""
    given = asked.conditions
    over = _OVER_STUDIES.get(given.pop("study", ""), "")
    where = [f"{factor.replace('_', ' ')} {level}" for factor, level in given.items()]
    kind = asked.kind.replace("_", " ").replace("rebiopsy", "re-biopsy")
    parts = (kind, outcome, contrast, *(where if over else ()), over)
    return ", ".join(filter(None, parts))


def published(row: Mapping[Any, Any]) -> str:
    """Text of the published number as printed: its percentage, or all of it where that is short."""
    text = str(row["published_text"] or "")
    percent = _PERCENT.search(text)
    if row["unit"] == "%" and percent and pd.isna(row["published_lower"]):
        return f"{percent[1]} %"
    if 0 < len(text) <= _AS_PRINTED or pd.isna(row["published"]):
        unit = "" if row["unit"] in ("", "%") or str(row["unit"]) in text else row["unit"]
        return f"{text} {unit}".strip() if text else ""
    value, low, high = row["published"], row["published_lower"], row["published_upper"]
    numbers = [value] if pd.isna(low) or pd.isna(high) else [value, low, high]
    shown = interval(value, low, high, max(map(_decimals, numbers)))
    return f"{shown} {row['unit']}".strip()


def _decimals(value: float) -> int:
    """Decimals a number was printed with, as far as they are not zeros."""
    return len(f"{value:.10f}".rstrip("0").partition(".")[2])


def estimate(row: Mapping[Any, Any], value: str, limits: str) -> str:
    """Text of a number with its interval and unit; empty where there is none."""
    low, high = row[f"{limits}_lower"], row[f"{limits}_upper"]
    low, high = (None, None) if low == high else (low, high)
    text = interval(row[value], low, high, unit=row["unit"])
    return f"{text} {row['unit']}".strip() if text else ""


def sentence(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Say the results of one topic in one sentence, from their numbers."""
    fitted = [row for row in rows if not pd.isna(row["posterior_median"])]
    clauses = [_estimated(row, first=row is fitted[0]) for row in fitted]
    clauses += [_printed(row) for row in rows if pd.isna(row["posterior_median"])]
    text = "; ".join(clauses)
    if fitted and all(row["model"] == "reconstructed_survival" for row in fitted):
        text = f"in cohorts reconstructed from the printed numbers, {text}"
    return f"{text[:1].upper()}{text[1:]}."


def _printed(row: Mapping[Any, Any]) -> str:
    shown = _plain(row, "published", "published", "95 % confidence interval")
    why = ", which cannot be checked" if row["verdict"] == "not_checkable" else ""
    return f"the {row['quantity']} is published as {shown}{why}"


def _estimated(row: Mapping[Any, Any], first: bool) -> str:
    name = "95 % credible interval" if first else ""
    shown = _plain(row, "posterior_median", "posterior", name, _crossing(row))
    wrong = ", from a fit that did not converge" if failed(row["convergence"]) else ""
    return f"the {row['quantity']} {'is estimated at ' if first else 'at '}{shown}{wrong}"


def _crossing(row: Mapping[Any, Any]) -> str:
    """Say where published and posterior interval of a ratio disagree on including 1."""
    if KINDS[parse(row["estimand"]).kind].scale != "log" or row["unit"]:
        return ""
    ends = [row[f"{of}_{end}"] for of in ("published", "posterior") for end in ("lower", "upper")]
    if any(pd.isna(end) for end in ends):
        return ""
    printed, fitted = ends[0] <= 1 <= ends[1], ends[2] <= 1 <= ends[3]
    if printed == fitted:
        return ""
    said = " to ".join(number(end, max(map(_decimals, ends[:2]))) for end in ends[:2])
    verb = "includes" if fitted else "excludes"
    return f", which {verb} 1; the published interval, {said}, does not"


def _plain(row: Mapping[Any, Any], value: str, limits: str, name: str, more: str = "") -> str:
    """Number, unit and limits in words: 51 % (95 % credible interval 45 to 58 %)."""
    unit = str(row["unit"])
    mark = f"\N{NO-BREAK SPACE}{unit}" if unit else ""
    text = _number(row[value], unit) + mark
    low, high = row[f"{limits}_lower"], row[f"{limits}_upper"]
    if pd.isna(low) or pd.isna(high):
        return text
    limit = f"{_number(low, unit)} to {_number(high, unit)}{mark}"
    return f"{text} ({' '.join(filter(None, (name, limit)))}{more})"


def _number(value: object, unit: str) -> str:
    places = {"%": 0, "months": 1, "years": 1}.get(unit)
    if unit and isinstance(value, float) and value.is_integer():
        places = 0 if places is None else places  # patients, events
    if places is None and isinstance(value, float) and 0.1 <= abs(value) < 100:
        places = 2 if abs(value) < 10 else 1
    return number(value, places)


WIDTH, HEIGHT, MARGIN = 240.0, 34.0, 8.0
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Axis:
    """From where to where the marks of one topic's unit go; ratios on the log scale."""

    low: float
    high: float
    log: bool

    def at(self, value: float) -> float:
        """Place of a value, held within the axis."""
        low, high, x = self.low, self.high, value
        if self.log:
            low, high, x = math.log(low), math.log(high), math.log(max(value, 1e-9))
        part = min(1.0, max(0.0, (x - low) / (high - low)))
        return MARGIN + part * (WIDTH - 2 * MARGIN)

    @property
    def ticks(self) -> list[float]:
        """Numbers below the axis."""
        if not self.log:
            return [self.low, (self.low + self.high) / 2, self.high]
        middle = 1.0 if self.low < 1 else float(f"{math.sqrt(self.low * self.high):.1g}")
        return [self.low, middle, self.high]


def axis(rows: Sequence[Mapping[Any, Any]], unit: str) -> Axis:
    """Axis for the published, reproduced and posterior numbers of rows of one unit."""
    cells = [row[name] for row in rows for name in NUMBERS if not name.startswith("prior")]
    values = [float(x) for x in cells if not pd.isna(x) and math.isfinite(x)] or [1.0]
    if unit == "%":
        return Axis(-100.0 if min(values) < 0 else 0.0, 100.0, False)
    if unit:
        return Axis(0.0, _round_up(max(values)), False)
    most = max(max(values), 1 / max(min(values), 1e-6), 2.0)
    top = _round_up(min(most, 100.0))
    kinds = {parse(row["estimand"]).kind for row in rows}
    return Axis(1.0 if kinds == {"number_to_rebiopsy"} else 1 / top, top, True)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next((s * power for s in _STEPS if s * power >= value), 10 * power)


def marks(row: Mapping[Any, Any], on: Axis) -> dict[str, Any]:
    """Places of the three marks and of the prior's band; None where there is no number."""

    def place(value: object) -> str | None:
        known = isinstance(value, float | int) and not pd.isna(value)
        return f"{on.at(float(value)):.1f}" if known else None  # type: ignore[arg-type]

    def mark(value: str, limits: str) -> dict[str, str | None]:
        names = {"at": value, "low": f"{limits}_lower", "high": f"{limits}_upper"}
        return {name: place(row[column]) for name, column in names.items()}

    low, high = place(row["prior_lower"]), place(row["prior_upper"])
    band = None
    if low is not None and high is not None:
        band = {"x": low, "width": f"{float(high) - float(low):.1f}"}
    return {
        "published": mark("published", "published"),
        "reproduced": mark("reproduced", "reproduced"),
        "posterior": mark("posterior_median", "posterior"),
        "prior": band,
        "one": place(1.0) if on.log else None,
    }


def view(found: KeyResults, sections: Mapping[str, str], anchors: Mapping[str, str]) -> list[Any]:
    """Topics of the page: their rows as text with marks, their axes, their sentence.

    ``sections`` maps fit ids to the section of the page, ``anchors`` claim ids to the evidence row.
    """
    said = dict(found.topics())
    topics = []
    for topic, sentence_ in said.items():
        rows = found.frame[found.frame["topic"] == topic].to_dict("records")
        axes = {u: axis([r for r in rows if r["unit"] == u], u) for u in {r["unit"] for r in rows}}
        topics.append(
            {
                "topic": topic,
                "sentence": sentence_,
                "rows": [
                    _row(r, axes[r["unit"]], sections, anchors)
                    | {"axis": r is rows[-1] or r["unit"] != rows[place + 1]["unit"]}
                    for place, r in enumerate(rows)
                ],
            }
        )
    return topics


def _row(
    row: Mapping[Any, Any], on: Axis, sections: Mapping[str, str], anchors: Mapping[str, str]
) -> dict[str, Any]:
    evidence = anchors.get(row["claim_id"], "evidence")
    words = str(row["quantity"])
    texts = {
        "published": published(row),
        "reproduced": estimate(row, "reproduced", "reproduced"),
        "posterior": estimate(row, "posterior_median", "posterior"),
    }
    return {
        "quantity": f"{words[:1].upper()}{words[1:]}",
        "section": sections.get(row["fit_id"], evidence),
        "evidence": evidence,
        "verdict": row["verdict"],
        "sensitivity": row["sensitivity"],
        "failed": row["convergence"] if failed(row["convergence"]) else "",
        "marks": marks(row, on),
        "ticks": [{"x": f"{on.at(t):.1f}", "text": _tick(t, row["unit"])} for t in on.ticks],
        "log": on.log,
        **{name: _halves(text) for name, text in texts.items()},
    }


def _tick(value: float, unit: str) -> str:
    return f"{value:g}" + (f" {unit}" if unit == "%" else "")


def _halves(text: str) -> tuple[str, str]:
    """Number and interval, to stand below each other: '51.4 %' and '(45.0–57.6)'."""
    value, mark, rest = text.partition(" (")
    limits, _, unit = rest.partition(")")
    return (value + unit, f"({limits})") if mark else (text, "")


COLUMN = 170.0
"""Width of a figure over two columns of a journal, mm."""

_DRAWN = (
    ("published", "published", "published, 95 % CI", style.INK, "o", "white"),
    ("reproduced", "reproduced", "reproduced, 95 % CI", style.VERMILLION, "D", style.VERMILLION),
    ("posterior_median", "posterior", "posterior, 95 % CrI", style.BLUE, "o", style.BLUE),
)
_INCH = 25.4


def forest(found: KeyResults, width: float = COLUMN) -> Figure:
    """Key results with published, reproduced and posterior marks, ``width`` in mm.

    One panel for each unit of a topic, in the order of the rows; ratios on a log scale. Text is
    8 pt at this width, shapes tell the marks apart in greyscale.
    """
    frame = found.frame
    panels = [rows for _, rows in frame.groupby(["topic", "unit"], sort=False)]
    heights = [len(rows) for rows in panels]
    size = (width / _INCH, 0.42 * sum(heights) + 0.42 * len(panels) + 0.3)
    with style.drawing():
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=size, layout="constrained")
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, rows in zip(grid, panels, strict=True):
            _panel(axes, rows.to_dict("records"))
        handles, labels = grid[0].get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        figure.legend(known.values(), known.keys(), loc="outside upper right", ncols=3, fontsize=8)
    return figure


def _panel(axes: Any, rows: Sequence[Mapping[Any, Any]]) -> None:
    on = axis(rows, rows[0]["unit"])
    axes.set(xlim=(on.low, on.high), ylim=(len(rows) - 0.45, -0.55))
    if on.log:
        axes.set_xscale("log")
        axes.axvline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
    axes.set_xticks(on.ticks, [f"{t:g}{rows[0]['unit'] if rows[0]['unit'] == '%' else ''}"
                               for t in on.ticks])  # fmt: skip
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(rows)), [_sentence(row["quantity"]) for row in rows], fontsize=8)
    for place, row in enumerate(rows):
        if not pd.isna(row["prior_lower"]):
            band = (row["prior_lower"], row["prior_upper"])
            axes.fill_betweenx([place - 0.4, place + 0.4], *band, color=style.FAINT, linewidth=0,
                               alpha=0.5)  # fmt: skip
        for step, (value, limits, label, colour, shape, face) in zip((-0.25, 0, 0.25), _DRAWN,
                                                                     strict=True):  # fmt: skip
            if pd.isna(row[value]):
                continue
            ends = [row[f"{limits}_lower"], row[f"{limits}_upper"]]
            if not pd.isna(ends).any():
                axes.plot(ends, [place + step] * 2, color=colour, linewidth=1.2)
            axes.plot(row[value], place + step, shape, color=colour, markerfacecolor=face,
                      markersize=4, label=label, linestyle="none")  # fmt: skip


def _sentence(words: str) -> str:
    return "\n".join(textwrap.wrap(f"{words[:1].upper()}{words[1:]}", 44))
