"""Estimands of the transition matrix: identities, labels, agreement with the finite table."""

import numpy as np
import pytest
import xarray as xr

from her2bayes.classical.square_tables import kappa
from her2bayes.transition import draws as tr

CLASSES = ["zero", "low", "positive"]
MSK = xr.DataArray(
    [[124, 48, 3], [116, 162, 13], [7, 19, 79]],
    dims=("her2_primary", "her2"),
    coords={"her2_primary": CLASSES, "her2": CLASSES},
)


@pytest.fixture
def draws(rng: np.random.Generator) -> tuple[xr.DataArray, xr.DataArray]:
    """Transition rows and primary shares: 2 chains, 50 draws, 4 strata."""
    sizes = {"chain": 2, "draw": 50, "stratum": 4}
    dims = (*sizes, "her2_primary", "her2")
    transition = rng.dirichlet(np.ones(3), size=(*sizes.values(), 3))
    share = rng.dirichlet(np.ones(3), size=tuple(sizes.values()))
    coords = {"her2_primary": CLASSES, "her2": CLASSES}
    return (
        xr.DataArray(transition, dims=dims, coords=coords),
        xr.DataArray(share, dims=dims[:-1], coords={"her2_primary": CLASSES}),
    )


def test_finite_table_gives_its_own_shares() -> None:
    flow = tr.flows(tr.rows(MSK / MSK.sum()), tr.observed_share(MSK))
    assert float(tr.discordance(flow)) == pytest.approx(206 / 571)
    assert float(tr.gain(flow, "low")) == pytest.approx((48 + 19) / 571)
    assert float(tr.loss(flow, "low")) == pytest.approx((116 + 13) / 571)
    assert float(tr.flow_difference(flow, "low", "zero")) == pytest.approx((116 - 48) / 571)
    assert float(tr.kappa(flow)) == pytest.approx(kappa(MSK.to_numpy()).value, rel=1e-12)
    assert tr.recurrence_share(flow).sel(her2="zero").item() == pytest.approx(247 / 571)


def test_identities(draws: tuple[xr.DataArray, xr.DataArray]) -> None:
    transition, share = draws
    flow = tr.flows(transition, share)
    assert set(tr.discordance(flow).dims) == {"chain", "draw", "stratum"}
    np.testing.assert_allclose(flow.sum(("her2_primary", "her2")), 1)
    change = tr.discordance(flow)
    gained = sum(tr.gain(flow, name) for name in CLASSES)
    lost = sum(tr.loss(flow, name) for name in CLASSES)
    xr.testing.assert_allclose(change, gained)
    xr.testing.assert_allclose(change, lost)
    for name in CLASSES:
        moved = tr.gain(flow, name) - tr.loss(flow, name)
        before = share.sel(her2_primary=name, drop=True)
        after = tr.recurrence_share(flow).sel(her2=name, drop=True)
        xr.testing.assert_allclose(after - before, moved)
    xr.testing.assert_allclose(
        tr.flow_difference(flow, "zero", "low"), -tr.flow_difference(flow, "low", "zero")
    )
    xr.testing.assert_allclose(tr.rows(flow), transition.transpose(*tr.rows(flow).dims))
    agreement = tr.kappa(flow)
    assert bool(((agreement >= -1) & (agreement <= 1)).all())


def test_order_of_dims_and_of_classes_does_not_matter(
    draws: tuple[xr.DataArray, xr.DataArray],
) -> None:
    transition, share = draws
    turned = transition.transpose("her2", "stratum", "her2_primary", "draw", "chain")
    turned = turned.sel(her2=CLASSES[::-1])
    xr.testing.assert_allclose(
        tr.discordance(tr.flows(turned, share)).transpose("chain", "draw", "stratum"),
        tr.discordance(tr.flows(transition, share)),
    )


def test_pooled_strata(draws: tuple[xr.DataArray, xr.DataArray]) -> None:
    flow = tr.flows(*draws)
    weight = xr.DataArray([0.1, 0.2, 0.3, 0.4], dims="stratum")
    together = tr.pooled(flow, weight)
    xr.testing.assert_allclose(
        tr.discordance(together), (tr.discordance(flow) * weight).sum("stratum")
    )
    assert "stratum" not in together.dims
    # one stratum alone is itself
    alone = xr.DataArray([0.0, 1.0, 0.0, 0.0], dims="stratum")
    xr.testing.assert_allclose(tr.pooled(flow, alone), flow.isel(stratum=1))


def test_extremes() -> None:
    stay = xr.DataArray(np.eye(3), dims=MSK.dims, coords=MSK.coords)
    share = xr.DataArray([0.2, 0.5, 0.3], dims="her2_primary", coords={"her2_primary": CLASSES})
    assert float(tr.discordance(tr.flows(stay, share))) == 0
    assert float(tr.kappa(tr.flows(stay, share))) == pytest.approx(1)
    independent = xr.ones_like(stay) * share.rename(her2_primary="her2")
    assert float(tr.kappa(tr.flows(independent, share))) == pytest.approx(0, abs=1e-12)
    one = xr.DataArray([1.0, 0.0, 0.0], dims="her2_primary", coords={"her2_primary": CLASSES})
    assert np.isnan(float(tr.kappa(tr.flows(stay, one))))
    assert bool(tr.rows(tr.flows(stay, one)).sel(her2_primary="low").isnull().all())
