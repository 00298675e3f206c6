"""One function for every estimand of survival: identities, mixtures by hand, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.optimize import brentq

from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import survival_cells
from her2bayes.survival import piecewise as post
from her2bayes.survival.draws import curve_grid, draws, mean_curves, members, partners

END = [2.0, 5.0, 9.0, 20.0]


def cells_of() -> xr.Dataset:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "t": rng.uniform(1, 18, 300),
            "e": 1,
            "g": rng.choice(list("ab"), 300, p=[0.8, 0.2]),
            "h": rng.choice(list("xyz"), 300),
        }
    )
    found = read_follow_up(table, time="t", event="e", by=["g", "h"])
    return survival_cells(found, [0, *END])


def draws_of(cells: xr.Dataset) -> xr.Dataset:
    """Draws of a model with an interaction and a drift."""
    rng = np.random.default_rng(4)
    shape, dims = (2, 50), ("chain", "draw")
    sizes = {"g": 2, "h": 3, "interval": 4}

    def term(*names: str) -> tuple:
        values = rng.normal(0, 0.3, (*shape, *(sizes[n] for n in names)))
        return (*dims, *names), values

    return xr.Dataset(
        {
            "reference_log_hazard": (dims, rng.normal(-3, 0.1, shape)),
            "term_baseline": term("interval"),
            "term_g": term("g"),
            "term_h": term("h"),
            "term_g_h": term("g", "h"),
            "term_g_drift": term("g", "interval"),
        },
        coords={n: cells[n] for n in ("g", "h", "interval")},
    )


def test_log_hazard_is_the_sum_of_the_terms():
    cells = cells_of()
    draws = draws_of(cells)
    total = post.log_hazard(draws, cells, {"g": "b"})
    by_hand = (
        draws["reference_log_hazard"]
        + draws["term_baseline"]
        + draws["term_g"].sel(g="b")
        + draws["term_h"]
        + draws["term_g_h"].sel(g="b")
        + draws["term_g_drift"].sel(g="b")
    )
    xr.testing.assert_allclose(total.transpose(*by_hand.dims), by_hand)
    without = post.log_hazard(draws, cells, {"g": "b"}, without=("h", "g_h"))
    assert "h" not in without.dims


def ask(*texts: str, where: xr.Dataset | None = None) -> list[xr.DataArray]:
    cells = cells_of() if where is None else where
    return list(draws(draws_of(cells), cells, [parse(text) for text in texts]).values())


def test_hazard_ratios_are_differences_of_log_hazards():
    cells = cells_of()
    terms = draws_of(cells)
    total = post.log_hazard(terms, cells)
    within, late, average = ask(
        "hazard_ratio[t | h=y ; g: b vs a]",
        "hazard_ratio[t ; g: b vs a @ 19 months]",
        "hazard_ratio[t ; g: b vs a]",
    )
    direct = (total.sel(g="b") - total.sel(g="a")).sel(h="y")
    drift = terms["term_g_drift"].sel(g="b") - terms["term_g_drift"].sel(g="a")
    np.testing.assert_allclose(np.log(within), (direct - drift).isel(interval=0), rtol=1e-9)
    np.testing.assert_allclose(np.log(late), np.log(average) + drift.isel(interval=3), rtol=1e-9)
    assert partners(terms, "g") == {"h": "term_g_h"}


def test_survival_of_a_group_is_the_mean_over_its_patients():
    cells = cells_of()
    (found,) = ask("survival[t | g=b @ 6 months]")
    every = post.survival(post.log_hazard(draws_of(cells), cells), [6.0]).sel(g="b", time=6.0)
    rows = cells["rows"].sel(g="b")
    known = (every * rows).sum("h") / rows.sum("h")
    np.testing.assert_allclose(found, known, rtol=1e-12)
    # never the survival at the mean log hazard
    at_mean = post.survival(post.log_hazard(draws_of(cells), cells).sel(g="b").mean("h"), [6.0])
    assert float(abs(found - at_mean).max()) > 1e-3


def test_hazard_of_a_mixture_is_the_slope_of_its_log_survival():
    step = 1e-5
    before, after, rate, whole = ask(
        f"survival[t | g=b @ {6 - step} months]",
        f"survival[t | g=b @ {6 + step} months]",
        "hazard[t | g=b @ 6 months]",
        "cumulative_hazard[t | g=b @ 6 months]",
    )
    np.testing.assert_allclose(rate, (np.log(before) - np.log(after)) / (2 * step), rtol=1e-4)
    np.testing.assert_allclose(np.exp(-whole), (before + after) / 2, rtol=1e-6)


def test_a_median_is_where_the_mean_survival_crosses_a_half():
    cells = cells_of()
    terms = draws_of(cells)
    (found,) = ask("median[t | g=a]")
    hazards = post.log_hazard(terms, cells).sel(g="a").isel(chain=0, draw=3)
    weight = cells["rows"].sel(g="a") / cells["rows"].sel(g="a").sum()

    def alive(t: float) -> float:
        return float((post.survival(hazards, [t]).isel(time=0) * weight).sum())

    known = brentq(lambda t: alive(t) - 0.5, 0, 20)
    # between points of the grid, 0.15 months apart, the cumulative hazard is taken as linear
    assert float(found.isel(chain=0, draw=3)) == pytest.approx(known, abs=0.005)


def test_contrasts_are_those_of_their_parts():
    a, b, difference, ratio = ask(
        "rmst[t | g=a @ 12 months]",
        "rmst[t | g=b @ 12 months]",
        "rmst_difference[t ; g: b vs a @ 12 months]",
        "rmst_ratio[t ; g: b vs a @ 12 months]",
    )
    np.testing.assert_allclose(difference, b - a, atol=1e-12)
    np.testing.assert_allclose(ratio, b / a, rtol=1e-12)
    one, other, alike = ask(
        "survival[t | g=a, h=x @ 1 years]", "survival[t | g=b, h=x @ 12 months]",
        "survival_difference[t | h=x ; g: a vs b @ 12 months]",
    )  # fmt: skip
    np.testing.assert_allclose(alike, one - other, atol=1e-12)
    first, second, falls = ask(
        "rmst[t | g=a @ 12 months]", "rmst[t | g=b @ 12 months]",
        "ordering[t a > b ; g @ 12 months]",
    )  # fmt: skip
    np.testing.assert_array_equal(falls, (first > second).astype(float))
    median, never = ask("median[t]", "not_reached[t @ 15 months]")
    np.testing.assert_array_equal(never, (median >= 15).astype(float))


def test_a_table_of_estimands_is_one_pass_over_the_groups(monkeypatch):
    """Each group's log hazard is made once, however many estimands are asked."""
    cells, made = cells_of(), []
    from her2bayes.survival import draws as module

    real = module.log_hazard
    monkeypatch.setattr(module, "log_hazard", lambda *a: made.append(1) or real(*a))
    texts = [f"survival[t | g={g} @ {t} months]" for g in "ab" for t in (1, 3, 6)]
    together = ask(*texts, "median[t]", "rmst[t @ 9 months]", where=cells)
    assert len(made) == cells["rows"].size
    for text, value in zip(texts, together, strict=False):
        xr.testing.assert_allclose(ask(text, where=cells)[0], value, rtol=1e-12)


def test_a_median_does_not_depend_on_what_else_is_asked():
    cells = cells_of()
    terms, asked = draws_of(cells), [parse("median[t]"), parse("survival[t @ 7.3 months]")]
    alone = draws(terms, cells, asked[:1])[asked[0]]
    xr.testing.assert_equal(alone, draws(terms, cells, asked)[asked[0]])


def test_means_that_are_known_are_not_made_again(monkeypatch):
    from her2bayes.survival import draws as module

    cells = cells_of()
    terms, grid = draws_of(cells), curve_grid(cells, [6.0])
    wanted = {(): module.quantities("survival", 6.0, grid, on_grid=True)}
    known = mean_curves(terms, cells, wanted)
    monkeypatch.setattr(module, "log_hazard", lambda *_: pytest.fail("made again"))
    asked = [parse("survival[t @ 6 months]"), parse("median[t]")]
    assert set(draws(terms, cells, asked, grid=grid, known=known)) == set(asked)


def test_shares_of_a_condition_sum_to_one():
    share = members(cells_of(), (("g", "b"),))
    assert float(share.sum()) == pytest.approx(1)
    assert float(share.sel(g="a").sum()) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("survival[pfs @ 6 months]", "did you mean 't'"),
        ("survival[t | g=c @ 6 months]", "no patient has g=c"),
        ("survival[t | gg=a @ 6 months]", "did you mean 'g'"),
        ("survival[t | g=a]", "needs a time"),
        ("survival[t @ 6 moons]", "moons"),
        ("survival[t ; g: a vs b @ 6 months]", "takes no contrast"),
        ("hazard_ratio[t]", "needs a contrast"),
        ("hazard_ratio[t=cancer ; g: a vs b]", "outcome 't=cancer'"),
        ("share[her2=low]", "kind share"),
        ("median[t @ 6 months]", "takes no time"),
        ("ordering[t a ; g @ 6 months]", "two levels at least"),
        ("heterogeneity[t spread ; g]", "no spread_g is learned"),
        ("rmst[t @ 0 months]", "not after the first entry"),
    ],
)  # fmt: skip
def test_what_has_no_answer_is_refused_with_what_has(text, told):
    with pytest.raises(BadInput) as caught:
        ask(text)
    assert told in str(caught.value)
    assert "outcome t; g: a, b; h: x, y, z" in str(caught.value)


def test_everything_wrong_is_told_together():
    with pytest.raises(BadInput) as caught:
        ask("survival[t | g=c, k=1 @ 6 moons]", "median[os]")
    assert len(caught.value.faults) == 4
