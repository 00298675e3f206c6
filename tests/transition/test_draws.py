"""Estimands as draws: sums written out, identities, the finite table, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.classical.square_tables import kappa
from her2bayes.errors import BadInput
from her2bayes.estimand import Estimand
from her2bayes.transition.draws import (
    ANSWERED,
    Rows,
    accuracy,
    draws,
    observed_discordance,
    pooled,
    rows_of,
)

CLASSES = ["zero", "low", "positive"]
MSK = xr.DataArray(
    [[124, 48, 3], [116, 162, 13], [7, 19, 79]],
    dims=("her2_primary", "her2"),
    coords={"her2_primary": CLASSES, "her2": CLASSES},
)
TWO = ["a", "b"]


def behind_an_assay() -> tuple[xr.Dataset, np.ndarray, np.ndarray, np.ndarray]:
    share = np.array([0.7, 0.3])
    rows = np.array([[0.9, 0.1], [0.4, 0.6]])
    reads = np.array([[0.8, 0.2], [0.05, 0.95]])
    flow = share[:, None] * rows
    observed = reads.T @ flow @ reads
    unchanged = reads.T @ np.diag(np.diag(flow)) @ reads
    dims = ("chain", "draw", "stratum")
    read = (*dims, "read_primary", "read")
    data = xr.Dataset(
        {
            "primary_share": ((*dims, "her2_primary"), share[None, None, None]),
            "transition": ((*dims, "her2_primary", "her2"), rows[None, None, None]),
            "misclassification": (("chain", "draw", "her2", "read"), reads[None, None]),
            "observed_flow": (read, observed[None, None, None]),
            "unchanged_flow": (read, unchanged[None, None, None]),
        },
        coords={
            **dict.fromkeys(("her2_primary", "her2", "read", "read_primary"), TWO),
            "stratum": ["all"],
        },
    )
    return data, share, rows, reads


def test_true_and_observed_change() -> None:
    data, share, rows, reads = behind_an_assay()
    asked = ["true_discordance[her2]", "unchanged_given_observed_change[her2]"]
    true, unchanged = draws({(): rows_of(data, "all")}, asked).values()
    assert true.item() == pytest.approx(0.7 * 0.1 + 0.3 * 0.4)
    differ = 0.0
    same = 0.0
    for t1, t2, o1, o2 in np.ndindex(2, 2, 2, 2):
        p = share[t1] * rows[t1, t2] * reads[t1, o1] * reads[t2, o2]
        differ += p * (o1 != o2)
        same += p * (o1 != o2) * (t1 == t2)
    assert observed_discordance(data["observed_flow"]).item() == pytest.approx(differ)
    assert unchanged.item() == pytest.approx(same / differ)


def test_accuracy_is_over_both_samples() -> None:
    data, share, rows, reads = behind_an_assay()
    second = share @ rows
    expected = ((share + second) / 2) @ np.diag(reads)
    assert accuracy(data).item() == pytest.approx(expected)


def of_table(table: xr.DataArray) -> Rows:
    """Rows and shares of a finite table as one draw."""
    one = table.expand_dims(chain=[0], draw=[0]).astype(float)
    primary = one.sum("her2")
    share = primary / primary.sum("her2_primary")
    return Rows(one / primary, share, share.isel(chain=0, draw=0, drop=True))


def test_a_finite_table_gives_its_own_shares() -> None:
    expected = {
        "transition[zero -> low]": 48 / 175,
        "flow[zero -> low + low -> zero]": (48 + 116) / 571,
        "flow[zero -> low + low -> zero | her2_change=discordant]": (48 + 116) / 206,
        "discordance[]": 206 / 571,
        "gain[low]": (48 + 19) / 571,
        "loss[low]": (116 + 13) / 571,
        "flow_difference[low -> zero]": (116 - 48) / 571,
        "agreement[her2]": kappa(MSK.to_numpy()).value,
    }
    found = draws({(): of_table(MSK)}, expected)
    assert {str(asked): drawn.item() for asked, drawn in found.items()} == pytest.approx(expected)


@pytest.fixture
def levels(rng: np.random.Generator) -> dict[Any, Rows]:
    """Three strata, 2 chains of 50 draws."""
    dims = ("chain", "draw", "her2_primary", "her2")
    coords = {"her2_primary": CLASSES, "her2": CLASSES}
    found = {}
    for level in "xyz":
        rows = xr.DataArray(rng.dirichlet(np.ones(3), (2, 50, 3)), dims=dims, coords=coords)
        share = xr.DataArray(
            rng.dirichlet(np.ones(3), (2, 50)), dims=dims[:3], coords={"her2_primary": CLASSES}
        )
        found[("site", level),] = Rows(rows, share, share.mean(("chain", "draw")))
    return found


@pytest.mark.parametrize("new_cohort", [True, False])
def test_identities(levels: dict[Any, Rows], new_cohort: bool) -> None:
    kinds = [f"{kind}[{name} | site=x]" for kind in ("gain", "loss") for name in CLASSES]
    asked = ["discordance[| site=x]", *kinds]
    change, *parts = draws(levels, asked, new_cohort=new_cohort).values()
    xr.testing.assert_allclose(change, sum(parts[:3]))
    xr.testing.assert_allclose(change, sum(parts[3:]))
    there, back = draws(
        levels, ["flow_difference[zero -> low | site=x]", "flow_difference[low -> zero | site=x]"]
    ).values()
    xr.testing.assert_allclose(there, -back)
    texts = ("discordance_difference[; site: x vs y]", "discordance[| site=x]",
             "discordance[| site=y]")  # fmt: skip
    difference, x, y = draws(levels, texts, new_cohort=new_cohort).values()
    xr.testing.assert_identical(difference, x - y)


def test_order_of_dims_and_of_classes_does_not_matter(levels: dict[Any, Rows]) -> None:
    rows = levels[("site", "x"),]
    turned = rows.transition.transpose("her2", "her2_primary", "draw", "chain")
    other = Rows(turned.sel(her2=CLASSES[::-1]), rows.share, rows.cohort)
    for text in ("discordance[]", "agreement[her2]", "gain[low]", "transition[low -> zero]"):
        (one,), (two,) = (draws({(): r}, [text]).values() for r in (rows, other))
        xr.testing.assert_allclose(one, two.transpose("chain", "draw"))


def test_pooled_strata(levels: dict[Any, Rows]) -> None:
    flow = xr.concat([rows.flow() for rows in levels.values()], "stratum")
    alone = xr.DataArray([0.0, 1.0, 0.0], dims="stratum")
    together = pooled(flow, alone)
    xr.testing.assert_allclose(together, flow.isel(stratum=1))
    assert "stratum" not in together.dims


def test_extremes() -> None:
    stay = of_table(xr.DataArray(np.diag([2, 5, 3]), dims=MSK.dims, coords=MSK.coords))
    none, perfect = draws({(): stay}, ["discordance[]", "agreement[her2]"]).values()
    assert none.item() == 0
    assert perfect.item() == pytest.approx(1)
    chance = of_table(xr.DataArray(np.outer([2, 5, 3], [2, 5, 3]), dims=MSK.dims,
                                   coords=MSK.coords))  # fmt: skip
    (found,) = draws({(): chance}, ["agreement[her2]"]).values()
    assert found.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hazard_ratio[os ; her2: positive vs low]", "asked of fit_transitions"),
        ("symmetry[her2]", "a test of counts"),
        ("discordance[| site=w]", "no such stratum.*site=x"),
        ("discordance[]", "no such stratum"),
        ("transition[zero -> high | site=x]", "not of these classes"),
        ("gain[| site=x]", "not of these classes"),
        ("discordance_difference[; site]", "no levels to compare"),
        ("unchanged_given_observed_change[her2 | site=x]", "no model of the assay"),
    ],
)
def test_what_is_not_answered_is_refused(levels: dict[Any, Rows], text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        draws(levels, [text])


def test_all_faults_are_told_together(levels: dict[Any, Rows]) -> None:
    with pytest.raises(BadInput) as bad:
        draws(levels, ["discordance[| site=w]", "gain[high | site=x]", "agreement[her2 | site=x]"])
    assert len(bad.value.faults) == 2


def test_kinds_of_the_family_are_kinds() -> None:
    assert all(Estimand(kind, "zero") for kind in ANSWERED)
