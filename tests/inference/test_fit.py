"""A fit: groups, labels, densities against SciPy, identity; equal fits are read, not computed."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference import fit as fit_module
from her2bayes.inference.fit import GROUPS, Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store

pytestmark = pytest.mark.slow
SHORT = Sampling(draws=300, tune=300, chains=2)


def test_groups_carry_labels_and_no_padding(toy_fit: Fit) -> None:
    assert tuple(toy_fit.tree.children) == GROUPS
    for group in ("posterior", "prior", "posterior_predictive", "log_likelihood", "observed_data"):
        assert list(toy_fit.tree[group]["centre"].values) == list("abc")
    assert toy_fit.posterior["rate"].sizes == {"chain": 4, "draw": 1000, "centre": 3}
    assert toy_fit.prior["rate"].dims[:2] == ("chain", "draw")
    np.testing.assert_array_equal(toy_fit.tree["observed_data"]["events"], [2, 30, 7])


def test_log_densities_are_those_of_scipy(toy_fit: Fit) -> None:
    posterior, tree = toy_fit.posterior, toy_fit.tree
    np.testing.assert_allclose(
        tree["log_likelihood"]["events"],
        stats.poisson.logpmf([2, 30, 7], posterior["rate"]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        tree["log_prior"]["log_rate"],
        stats.norm.logpdf(posterior["log_rate"], 0, 1.5),
        rtol=1e-7,
    )


def test_predictive_draws_follow_the_rates(toy_fit: Fit) -> None:
    replicated = toy_fit.tree["posterior_predictive"]["events"]
    rate = toy_fit.posterior["rate"]
    standard = (replicated - rate) / np.sqrt(rate)
    assert float(np.abs(standard.mean(("chain", "draw"))).max()) < 4 / np.sqrt(4000)
    np.testing.assert_allclose(standard.var(("chain", "draw")), 1, atol=0.15)
    prior_rate = toy_fit.prior["rate"]
    assert float(np.log(prior_rate).std()) == pytest.approx(1.5, rel=0.05)


def test_provenance_says_what_the_fit_depends_on(toy_fit: Fit) -> None:
    record = toy_fit.provenance
    assert record["priors"] == {"log_rate": "Normal(mu=0.0, sigma=1.5)"}
    assert record["sampling"]["seed"] == 1
    assert record["flags"]["numba__fastmath"] is False
    assert {"pymc", "nutpie", "numpy", "python"} <= set(record["versions"])
    assert len(toy_fit.fit_id) == 12


def test_both_samplers_agree(toy_fit: Fit, toy: Callable[..., Any], make_centres: Any) -> None:
    data = make_centres([2, 30, 7], "abc")
    other = fit(toy, data, sampling=Sampling(seed=2, sampler="pymc"))
    assert other.fit_id != toy_fit.fit_id
    for one, two in ((toy_fit, other), (other, toy_fit)):
        assert one.diagnostics.divergences == 0
        np.testing.assert_allclose(
            one.posterior["log_rate"].mean(("chain", "draw")),
            two.posterior["log_rate"].mean(("chain", "draw")),
            atol=0.08,
        )


def test_identity_changes_with_everything_that_changes_the_draws(
    toy: Callable[..., Any], make_centres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(build: Any, data: Any, priors: Any, options: Any, sampling: Any, identity: Any,
                cores: Any, progress: Any) -> Fit:  # fmt: skip
        return Fit(xr.DataTree(), {"fit_id": fit_module.fit_key(identity), **identity})

    monkeypatch.setattr(fit_module, "_compute", nothing)
    data = make_centres([1, 2], "ab")
    base = fit(toy, data).fit_id
    assert fit(toy, data).fit_id == base
    words = prior("Normal", mu=0.0, sigma=1.5, means="rate 1, 95 % between 0.05 and 19")
    said = fit(toy, data, priors={"log_rate": words})
    assert said.fit_id == base
    assert said.provenance["means"] == {"log_rate": words.means}
    assert fit(toy, data, cores=1, progress=True).fit_id == base
    others = {
        fit(toy, make_centres([1, 3], "ab")).fit_id,
        fit(toy, make_centres([1, 2], "ac")).fit_id,
        fit(toy, data, priors={"log_rate": prior("Normal", mu=0.0, sigma=2.0)}).fit_id,
        fit(toy, data, options={"twice": True}).fit_id,
        *(
            fit(toy, data, sampling=replace(Sampling(), **{name: value})).fit_id
            for name, value in [("seed", 2), ("draws", 99), ("sampler", "pymc"), ("chains", 3)]
        ),
    }
    assert len(others) == 8
    assert base not in others


def test_unknown_prior_is_refused_before_anything_is_written(
    toy: Callable[..., Any], make_centres: Any, tmp_path: Path
) -> None:
    store = Store(tmp_path / "fits")
    with pytest.raises(BadInput, match="no prior named 'rate'"):
        fit(toy, make_centres([1], "a"), priors={"rate": prior("Normal", mu=0.0)}, store=store)
    assert not store.folder.exists()


def test_equal_fit_is_read_back_and_a_damaged_one_computed_again(
    toy: Callable[..., Any],
    make_centres: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(tmp_path / "fits")
    data = make_centres([3, 4], "ab")
    first = fit(toy, data, sampling=SHORT, store=store)
    (file,) = store.folder.glob("*.nc")
    assert file.name.startswith(f"conftest-{first.fit_id}-")
    again = fit(toy, data, sampling=SHORT, store=store)
    xr.testing.assert_identical(again.posterior, first.posterior)
    assert again.provenance == first.provenance

    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        third = fit(toy, data, sampling=SHORT, store=store)
    assert "damaged" in caplog.text
    xr.testing.assert_identical(third.posterior, first.posterior)
    assert len(list(store.folder.glob("*.nc"))) == 1


def test_reading_a_stored_fit_imports_no_pymc(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import xarray as xr
from her2bayes.distribution.her2_distribution import DEFAULT_PRIORS, build
from her2bayes.inference import fit as fits
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, fit_key
from her2bayes.bayes.prior import complete

counts = xr.DataArray([[1, 2, 3]], dims=("subgroup", "her2"),
                      coords={"subgroup": ["all"], "her2": ["zero", "low", "positive"]})
identity = fits._identity(build, counts, complete(None, DEFAULT_PRIORS), {}, Sampling())
fit_id = fit_key(identity)
tree = xr.DataTree.from_dict({"posterior": counts.to_dataset(name="share")})
tree.attrs["provenance"] = '{"fit_id": "%s", "model": "her2_distribution"}' % fit_id
store = Store(Path(sys.argv[1]))
store.save("her2_distribution", fit_id, tree)
found = fits.fit(build, counts, store=store)
assert found.fit_id == fit_id, found
assert int(found.posterior["share"].sum()) == 6
loaded = {"pymc", "pytensor", "numba", "nutpie", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
