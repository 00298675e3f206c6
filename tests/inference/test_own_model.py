"""A user's model file is read, checked and fitted; what is wrong with it is told with its line."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference.fit import fit
from her2bayes.inference.meaning import meaning
from her2bayes.inference.own_model import check, is_own, own_model
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store

TEXT = '''"""events ~ Poisson(rate)."""
import her2bayes as hb

DEFAULT_PRIORS = {"rate": hb.prior("HalfNormal", sigma=9.0, means="median 6 events")}


def build(data, priors):
    import pymc as pm

    with pm.Model(coords={"centre": data["centre"].values}) as model:
        rate = pm.HalfNormal("rate", priors["rate"]["sigma"], dims="centre")
        pm.Poisson("events", rate, observed=data.values, dims="centre")
    return model
'''


@pytest.fixture
def data() -> xr.DataArray:
    return xr.DataArray(np.array([3, 9, 1]), dims="centre", coords={"centre": list("abc")})


def written(folder: Path, old: str = "", new: str = "", name: str = "mine.py") -> Path:
    """File of the model with one piece of its text replaced."""
    assert old in TEXT
    path = folder / name
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    return path


def test_a_file_and_its_module_are_the_same_model(tmp_path: Path) -> None:
    path = written(tmp_path)
    spec = importlib.util.spec_from_file_location("anything", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    one, other = own_model(str(path)), own_model(module)
    assert (one.name, one.file, one.draws) == (other.name, other.file, None) == ("mine", path, None)
    assert meaning(one.build) == meaning(other.build)
    assert one.defaults["rate"].means == "median 6 events"
    assert one.equations == "events ~ Poisson(rate)."


def test_what_is_a_model_of_ones_own(tmp_path: Path) -> None:
    assert all(map(is_own, ["mine.py", tmp_path, ModuleType("mine")]))
    assert not any(map(is_own, ["ph", "her2_distribution", None]))


def test_identity_is_what_the_file_says(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    same = meaning(own_model(written(folders[0])).build)
    assert meaning(own_model(written(folders[1], "median 6", "about 6")).build) == same
    assert meaning(own_model(written(folders[2], "HalfNormal(", "Exponential(")).build) != same
    path = written(folders[3])
    path.write_text(TEXT.replace("pm.Poisson", "# counts\n        pm.Poisson"), encoding="utf-8")
    assert meaning(own_model(path).build) == same
    path.write_text(TEXT.replace("events", "deaths"), encoding="utf-8")
    assert meaning(own_model(path).build) != same  # read anew


WRONG = {
    "no file": ("", "", "other.txt", "no such model file"),
    "a name that ships": ("", "", "survival.py", "a model named 'survival' ships.*rename"),
    "no python": ("def build(", "def build", "mine.py", "row 7: .*SyntaxError"),
    "a failing import": ("import her2bayes", "import her3bayes", "mine.py", "row 2: .*her3bayes"),
    "no priors": ("DEFAULT_PRIORS", "PRIORS", "mine.py", "no DEFAULT_PRIORS"),
    "no function": ("def build", "def built", "mine.py", r"does not define.*build\(data, priors"),
    "one argument": ("(data, priors)", "(data)", "mine.py", "row 7: build takes too few"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_model_is_refused(case: str, tmp_path: Path) -> None:
    old, new, name, said = WRONG[case]
    path = written(tmp_path, old, new, name)
    if case == "no file":
        path = tmp_path / "absent.py"
    with pytest.raises(BadInput, match=said):
        own_model(path)


FAILING = {
    "build fails": ('data["centre"]', 'data["center"]', "row 10: build fails: KeyError"),
    "no model": ("return model", "return None", "build returns no model.*NoneType"),
    "nothing observed": (", observed=data.values", "", "discrete.*events|observes nothing"),
    "a discrete parameter": (
        "        pm.Poisson", '        pm.Bernoulli("lost", 0.5)\n        pm.Poisson',
        "discrete.*'lost'.*sum it out",
    ),
    "outside the support": ("observed=data.values", "observed=-data.values", "density of 'events'"),
    "no gradient": (
        '"events", rate,', '"events", rate + pm.math.sqrt(pm.math.clip(rate, 0.0, 0.0)),',
        "gradient by 'rate'",
    ),
    "undefined before the data": (
        '"events", rate,', '"events", pm.math.log(rate) - 2.0,', "no draws from the prior",
    ),
    "rarely finite before the data": (
        'pm.Poisson("events", rate,', 'pm.Uniform("events", 0.0, rate + 1e-6,',
        "density of 'events' is not finite at .* of 20 draws",
    ),
    "an unknown parameter": ('priors["rate"]["sigma"]', 'priors["tau"]["sigma"]', "row 11: build"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILING)
def test_a_model_that_cannot_be_sampled_is_refused(
    case: str, tmp_path: Path, data: xr.DataArray
) -> None:
    old, new, said = FAILING[case]
    model = own_model(written(tmp_path, old, new))
    with pytest.raises(BadInput, match=said) as raised:
        check(model.build, data)
    assert all(fault.file == model.file for fault in raised.value.faults)


def test_a_prior_the_model_does_not_know_is_refused(tmp_path: Path, data: xr.DataArray) -> None:
    with pytest.raises(BadInput, match="no prior named 'tau'"):
        check(own_model(written(tmp_path)).build, data, {"tau": prior("HalfNormal", sigma=1.0)})


def test_an_own_model_is_fitted_stored_and_explained(tmp_path: Path, data: xr.DataArray) -> None:
    """Posterior of a Poisson rate under a flat-like prior; the store is read the second time."""
    model, store = own_model(written(tmp_path)), Store(tmp_path / "fits")
    settings = Sampling(draws=500, tune=300, chains=2)
    first = fit(model.build, data, sampling=settings, store=store)
    assert first.model == "mine"
    assert first.provenance["own_model"]["equations"] == "events ~ Poisson(rate)."
    assert first.provenance["means"] == {"rate": "median 6 events"}
    shutil.move(model.file, tmp_path / "moved.py")
    shutil.move(tmp_path / "moved.py", model.file)
    again = fit(own_model(model.file).build, data, sampling=settings, store=store)
    xr.testing.assert_identical(again.posterior, first.posterior)
    # scipy 1.18 integrate.quad over r of r * poisson.pmf(9, r) * exp(-r**2 / 162): 8.927
    rate: Any = first.posterior["rate"].sel(centre="b")
    assert float(rate.mean()) == pytest.approx(8.927, abs=0.5)


def test_nothing_is_stored_of_a_model_that_is_refused(tmp_path: Path, data: xr.DataArray) -> None:
    model = own_model(written(tmp_path, "observed=data.values", "observed=-data.values"))
    with pytest.raises(BadInput, match="density of 'events'"):
        fit(model.build, data, store=Store(tmp_path / "fits"))
    assert not list(tmp_path.rglob("*.nc"))
