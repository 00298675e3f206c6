"""Classical pooling against metafor (tests/reference/synthesis.R), and what cannot be pooled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from her2bayes.errors import BadInput
from her2bayes.synthesis.pooling import egger, peto, pooled

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "synthesis.json").read_text("utf-8")
)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize(("place", "method"), [(0, "ee"), (1, "dl"), (2, "reml_hk"),
                                               (3, "reml_hk_modified")])  # fmt: skip
def test_pooled_as_metafor(name: str, place: int, method: str) -> None:
    """metafor 3.8-1: rma(method = "EE", "DL", "REML" with test = "knha", "adhoc"), predict()."""
    known, right = REFERENCE[name], REFERENCE[name][method]
    found = pooled(known["y"], known["se"])[place]
    for field in ("estimate", "se", "lower", "upper"):
        assert getattr(found, field) == pytest.approx(right[field], rel=1e-6), field
    assert found.tau**2 == pytest.approx(right["tau2"], rel=1e-5, abs=1e-12)
    assert found.i2 == pytest.approx(right["I2"], rel=1e-5)
    assert (found.q, found.p) == pytest.approx((right["Q"], right["Qp"]))
    if right["pi_lower"] is None:
        assert np.isnan(found.prediction).all()
    else:
        limits = right["pi_lower"], right["pi_upper"]
        assert found.prediction == pytest.approx(limits, rel=1e-5)


@pytest.mark.parametrize("name", REFERENCE)
def test_peto_and_egger_as_metafor(name: str) -> None:
    """rma.peto() and regtest(model = "lm", predictor = "sei")."""
    known = REFERENCE[name]
    counts = known["counts"]
    found = peto(np.column_stack([counts[key] for key in "ancm"]))
    for field in ("estimate", "se", "lower", "upper"):
        assert getattr(found, field) == pytest.approx(known["peto"][field], rel=1e-8), field
    t, p = egger(known["y"], known["se"])
    assert (t, p) == pytest.approx((known["egger"]["t"], known["egger"]["p"]), rel=1e-6)


def test_equal_studies_have_no_spread() -> None:
    for found in pooled([0.2, 0.2, 0.2], [0.1, 0.2, 0.3]):
        assert found.estimate == pytest.approx(0.2)
        assert found.tau == 0
        assert found.i2 == 0


def test_what_cannot_be_pooled_is_refused() -> None:
    with pytest.raises(BadInput, match="two studies"):
        pooled([0.1], [0.2])
    with pytest.raises(BadInput, match="not above 0"):
        pooled([0.1, 0.2], [0.2, 0.0])
    with pytest.raises(BadInput, match="no study has events"):
        peto([(0, 10, 0, 10)])
    assert np.isnan(egger([0.1, 0.2], [0.1, 0.2])).all()
