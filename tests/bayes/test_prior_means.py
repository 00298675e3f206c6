"""What priors say of themselves in clinical units is computed again, number by number.

Draws of each prior by NumPy alone; the models' graphs take no part.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import special, stats

from her2bayes.bayes.prior import Prior, prior
from her2bayes.inference import own_model

NUMBER = re.compile(r"(?<![\w.])(?:1/)?\d+(?:\.\d+)?")
SIZE = 1_000_000

Computed = Callable[[Prior, np.random.Generator], list[float]]


def spread(values: np.ndarray, *probabilities: float) -> list[float]:
    return [float(q) for q in np.quantile(values, probabilities or (0.5, 0.025, 0.975))]


def normal(p: Prior, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(p["mu"], p["sigma"], SIZE)


def half_normal(p: Prior, rng: np.random.Generator) -> np.ndarray:
    return np.abs(rng.normal(0, p["sigma"], SIZE))


def rate(p: Prior, rng: np.random.Generator) -> list[float]:
    """Median and 95 % of a rate in percent whose log odds are normal."""
    middle, low, high = spread(100 * special.expit(normal(p, rng)))
    return [middle, 95, low, high]


def scale(p: Prior, rng: np.random.Generator) -> list[float]:
    """Median, and what 95 % lie below."""
    middle, most = spread(half_normal(p, rng), 0.5, 0.95)
    return [middle, 95, most]


def between_levels(p: Prior, rng: np.random.Generator) -> list[float]:
    """Factor between two of three or more levels: their log odds differ by sqrt(2) of the scale."""
    factor = np.exp(np.sqrt(2) * half_normal(p, rng) * np.abs(rng.normal(size=SIZE)))
    middle, most = spread(factor, 0.5, 0.95)
    return [middle, 95, most]


def two_by_two(p: Prior, rng: np.random.Generator) -> list[float]:
    """Ratio of the odds ratios of two classes in two levels: twice a difference of two effects."""
    log_ratio = 2 * p["value"] * (rng.normal(size=SIZE) - rng.normal(size=SIZE))
    low, high = np.exp(np.quantile(log_ratio, (0.025, 0.975)))
    return [95, float(low), float(high)]


def two_levels(p: Prior, rng: np.random.Generator) -> list[float]:
    most = np.exp(1.96 * np.sqrt(2) * p["value"])
    return [95, 1 / most, most]


def other_share(p: Prior, rng: np.random.Generator) -> list[float]:
    """Share of a category in one level, where the other has 50 % and the rest equally."""
    logit = rng.normal(0, np.sqrt(2) * p["value"], (SIZE, 3))
    logit -= logit.mean(axis=1, keepdims=True)
    share = special.softmax(logit + np.log([0.5, 0.25, 0.25]), axis=1)[:, 0]
    return [50, 95, *spread(100 * share, 0.025, 0.975)]


def any_share(p: Prior, rng: np.random.Generator) -> list[float]:
    logit = rng.normal(0, p["sigma"], (SIZE, 3))
    logit -= logit.mean(axis=1, keepdims=True)
    middle, low, high = spread(100 * special.softmax(logit, axis=1)[:, 0])
    return [middle, 95, low, high]


def correlation(slope: np.ndarray) -> float:
    """Correlation of two effects of equal spread, one regressed on the other: upper 95 % limit."""
    return spread(slope / np.hypot(1, slope), 0.975)[0]


def weight(p: Prior, rng: np.random.Generator) -> list[float]:
    middle, low, high = spread(np.exp(normal(p, rng)))
    return [middle, 95, low, high]


def rows(p: Prior, rng: np.random.Generator) -> list[float]:
    """Median share of a row without a change, in percent; ``three`` stands in words."""
    stays = stats.beta(p["total"] * p["stays"], p["total"] * (1 - p["stays"]))
    return [100 * p["stays"], *(100 * stays.ppf(q) for q in (0.5, 0.025, 0.975))]


def change(p: Prior, rng: np.random.Generator) -> list[float]:
    """Odds of one change; share of a row that changes; of three rows on average."""
    odds = np.exp(rng.normal(p["mu"], p["sigma"], (SIZE, 3, 2)))
    share = 100 * (odds.sum(axis=-1) / (1 + odds.sum(axis=-1)))
    middle, low, high = spread(odds[:, 0, 0])
    three = share.mean(axis=1)
    return [middle, 95, low, high, *spread(share[:, 0]), three.mean(), *spread(three)[1:]]


def reading(right: int) -> Computed:
    """Share of a class that is read right, with the odds of the two other readings."""

    def computed(p: Prior, rng: np.random.Generator) -> list[float]:
        a = np.array(p["a"])
        share = stats.beta(a[right], a.sum() - a[right])
        return [100 * share.mean(), *(100 * share.ppf(q) for q in (0.025, 0.975))]

    return computed


def months(p: Prior, rng: np.random.Generator) -> list[float]:
    middle, low, high = spread(np.log(2) / np.exp(normal(p, rng)))
    return [middle, 95, low, high]


def ratio(times: float) -> Computed:
    """Interval of a hazard ratio whose log is normal with ``times`` the mean of the spread."""

    def computed(p: Prior, rng: np.random.Generator) -> list[float]:
        sd = times * p["sigma"] * np.sqrt(2 / np.pi)
        return [np.exp(-1.96 * sd), np.exp(1.96 * sd)]

    return computed


def walk(sd: float) -> list[float]:
    """68 % of the factor by which a walk of this sd changes over the whole follow-up."""
    return [np.exp(-sd), np.exp(sd), 68]


COMPUTED: dict[tuple[str, str], Computed] = {
    ("adverse_events", "mu"): rate,
    ("adverse_events", "tau_system"): scale,
    ("adverse_events", "tau_event"): scale,
    ("adverse_events_two_arms", "mu_gamma"): rate,
    ("adverse_events_two_arms", "tau_gamma"): scale,
    ("adverse_events_two_arms", "tau_theta"): scale,
    ("adverse_events_two_arms", "sigma_gamma"): scale,
    ("adverse_events_two_arms", "sigma_theta"): scale,
    ("adverse_events_two_arms", "mu_theta"): lambda p, r: [
        95, *spread(np.exp(normal(p, r)), 0.025, 0.975)
    ],
    ("assay", "reads_zero"): reading(0),
    ("assay", "reads_low"): lambda p, r: reading(1)(p, r)[:1],
    ("assay", "reads_positive"): reading(2),
    ("best_response", "tau"): between_levels,
    ("best_response", "fixed_tau"): two_levels,
    ("her2_distribution", "alpha"): any_share,
    ("her2_distribution", "tau"): scale,
    ("her2_distribution", "fixed_tau"): other_share,
    ("her2_distribution_crossed", "alpha"): any_share,
    ("her2_distribution_crossed", "tau"): scale,
    ("her2_distribution_crossed", "fixed_tau"): other_share,
    ("her2_distribution_crossed", "interaction"): scale,
    ("her2_distribution_crossed", "fixed_interaction"): two_by_two,
    ("her2_distribution_crossed", "exchangeable"): scale,
    ("her2_distribution_dirichlet", "concentration"): weight,
    ("her2_distribution_dirichlet", "parent_concentration"): weight,
    ("her2_distribution_ordered", "tau"): between_levels,
    ("her2_distribution_ordered", "fixed_tau"): two_levels,
    ("her2_transition_dirichlet", "transition"): rows,
    ("random_effects", "centre"): lambda p, r: [
        1, 95, *spread(np.exp(normal(p, r)), 0.025, 0.975)
    ],
    ("random_effects", "moderator"): lambda p, r: [
        1, 95, *spread(np.exp(np.sqrt(2) * normal(p, r)), 0.025, 0.975)
    ],
    ("random_effects", "study"): lambda p, r: [*scale(p, r), between_levels(p, r)[0]],
    ("random_effects", "row"): scale,
    ("study_shares", "mu"): any_share,
    ("study_shares", "moderator"): lambda p, r: other_share(prior("Constant", value=p["sigma"]), r),
    ("study_shares", "study_sd"): scale,
    ("study_shares", "slope_sd"): scale,
    ("study_shares", "centre_sd"): scale,
    ("study_shares", "lean"): lambda p, r: [0, 95, correlation(normal(p, r))],
    ("response", "mu"): lambda p, r: [*rate(p, r), 50],
    ("response", "tau"): scale,
    ("response", "rate_alone"): lambda p, r: [1, 1, 1, 50],
    ("survival", "reference_log_hazard"): months,
    ("survival", "smoothing"): lambda p, r: [*walk(1.0), 1],
    ("survival", "log_hazard_ratio"): lambda p, r: [
        1, 95, *spread(np.exp(normal(p, r)), 0.025, 0.975)
    ],
    ("survival", "spread"): lambda p, r: [1, 95, *ratio(np.sqrt(2))(p, r)],
    ("survival", "drift"): lambda p, r: [*walk(p["sigma"]), p["sigma"]],
    ("survival", "frailty"): lambda p, r: [*ratio(1.0)(p, r), 95],
    ("survival", "interval_log_hazard"): lambda p, r: months(p, r)[2:],
    ("survival_borrowing", "tau"): lambda p, r: [
        *scale(p, r), np.exp(scale(p, r)[-1])
    ],
    ("rows", "log_odds"): change,
    ("rows", "stratum_sd"): between_levels,
    ("rows", "study_sd"): between_levels,
}  # fmt: skip


def priors() -> dict[str, Mapping[str, Prior]]:
    """Default priors of each file that writes any, by the file's name."""
    found = {}
    for path in own_model.PACKAGE.rglob("*.py"):
        written = re.search(r"^(\w*PRIORS) = \{\n", path.read_text("utf-8"), flags=re.MULTILINE)
        if written:
            parts = path.relative_to(own_model.PACKAGE.parent).with_suffix("").parts
            found[path.stem] = getattr(importlib.import_module(".".join(parts)), written[1])
    found.pop("kept")  # of reconstructed patients: words made of the numbers (``meaning_of``)
    return found


PRIORS = priors()


def agrees(printed: str, value: float) -> bool:
    """Tell whether a number is what is printed: half a unit of its last digit, or 2 % of it."""
    if printed.startswith("1/"):
        return abs(1 / value - float(printed[2:])) <= 0.5
    digits = len(printed.partition(".")[2])
    return abs(float(printed) - value) <= max(0.51 * 10.0**-digits, 0.02 * abs(value))


MADE_OF = {"her2_joint": ("assay", "survival")}
"""Model made of others' -> the files that write its priors."""


def test_every_default_prior_says_what_it_means() -> None:
    assert len(PRIORS) >= 10
    silent = [(model, name) for model, of in PRIORS.items() for name in of if not of[name].means]
    assert silent == []


def test_every_number_said_is_computed() -> None:
    """A prior that another file takes over says there what it says in its own."""
    said = {
        (model, name)
        for model, of in PRIORS.items()
        for name, value in of.items()
        if NUMBER.search(value.means)
        and not (model != "rows" and value is PRIORS["rows"].get(name))
        and not any(value is PRIORS[of].get(name) for of in MADE_OF.get(model, ()))
    }
    assert said == set(COMPUTED)


@pytest.mark.parametrize(("model", "name"), sorted(COMPUTED))
def test_words_say_what_the_prior_means(model: str, name: str, rng: np.random.Generator) -> None:
    text = PRIORS[model][name].means
    printed = NUMBER.findall(text)
    computed = COMPUTED[model, name](PRIORS[model][name], rng)
    assert len(printed) == len(computed), (text, computed)
    for number, value in zip(printed, computed, strict=True):
        assert agrees(number, value), (text, computed)


def test_words_beside_the_assay_are_counted() -> None:
    """Twenty readings a class; five times as often zero as positive; four times low."""
    zero, low, positive = (PRIORS["assay"][f"reads_{n}"]["a"] for n in ("zero", "low", "positive"))
    assert [sum(a) for a in (zero, low, positive)] == pytest.approx([20, 20, 20])
    assert low[0] / low[2] == 5
    assert positive[1] / positive[0] == pytest.approx(4)
    assert zero[1] / (zero[1] + zero[2]) > 0.9  # nearly always low


def test_an_interaction_is_a_third_of_the_log_hazard_ratio() -> None:
    of = PRIORS["survival"]
    assert of["interaction"]["sigma"] / of["log_hazard_ratio"]["sigma"] == pytest.approx(1 / 3)


def test_a_rate_alone_is_worth_one_patient() -> None:
    """Information of one patient on the log odds at a rate of p: p (1 - p)."""
    for name in ("mu", "rate_alone"):
        assert PRIORS["response"][name]["sigma"] ** 2 == pytest.approx(1 / 0.5 + 1 / 0.5)
