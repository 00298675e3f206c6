"""What ``fit_survival`` takes and its fit answers; draws are made up, none is sampled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.inference.fit import Fit, Specification
from her2bayes.inference.store import data_digest
from her2bayes.survival import fitted
from her2bayes.survival.parts import factors, levels, parts

CHAINS, DRAWS = 2, 60


def patients(number: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    time = np.round(rng.exponential(30, number), 1) + 0.1
    return pd.DataFrame(
        {
            "os_months": np.minimum(time, 60),
            "os_event": (time < 60).astype(int),
            "entry": np.minimum(time, 60) * rng.uniform(0, 0.3, number),
            "her2": rng.choice(["zero", "low", "positive"], number),
            "hr_status": rng.choice(["positive", "negative"], number),
        }
    )


def made_up(model: Any, *_: Any) -> Fit:
    """A fit of the right shape whose terms are random numbers."""
    cells = model.data if isinstance(model.data, xr.Dataset) else model.data["cells"]
    rng, groups = np.random.default_rng(4), {}
    dims, shape = ("chain", "draw"), (CHAINS, DRAWS)
    for name in ("posterior", "prior"):
        found: dict[str, Any] = {"reference_log_hazard": (dims, rng.normal(-3.5, 0.1, shape))}
        for part in parts(cells, **model.options):
            own = [str(d) for d in part.basis.dims if d != "coefficient"]
            size = tuple(cells.sizes[d] for d in own)
            found[f"term_{part.name}"] = ((*dims, *own), rng.normal(0, 0.2, (*shape, *size)))
            if part.learned:
                found[part.scale] = (dims, np.abs(rng.normal(0, 0.3, shape)))
        names = [*factors(cells), "interval"]
        coords = {n: cells[n].values for n in names if n in cells.dims}
        groups[name] = xr.Dataset(found, coords | {"chain": range(CHAINS), "draw": range(DRAWS)})
    zeros = np.zeros(shape)
    groups["sample_stats"] = xr.Dataset(
        {"diverging": (dims, zeros.astype(bool)), "energy": (dims, rng.normal(size=shape))}
    )
    provenance = {
        "fit_id": "0123456789ab", "model": "survival", "data": data_digest(model.data),
        "priors": {name: str(value) for name, value in model.priors.items()},
    }  # fmt: skip
    return Fit(xr.DataTree.from_dict(groups), provenance)


@pytest.fixture(autouse=True, scope="module")
def unsampled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Specification, "fit", made_up)
        yield


BY = {"her2": ["zero", "low", "positive"], "hr_status": None}
COLUMNS: dict[str, Any] = {"time": "os_months", "event": "os_event"}


@pytest.fixture(scope="module")
def os(unsampled: None) -> fitted.FittedSurvival:
    return hb.fit_survival(patients(), **COLUMNS, by=BY)


def test_the_example_of_the_design(os: fitted.FittedSurvival) -> None:
    gain = os.draws("rmst[os | her2=positive @ 60 months]") - os.draws(
        "rmst[os | her2=low @ 60 months]"
    )
    assert gain.dims == ("chain", "draw")
    both = os.draws(["rmst[os | her2=positive @ 60 months]", "rmst[os | her2=low @ 60 months]"])
    first, second = both.values()
    np.testing.assert_allclose(gain, first - second, rtol=1e-12)
    assert os.draws("median[os]", group="prior").sizes == {"chain": CHAINS, "draw": DRAWS}
    figure = os.figures.survival("her2")
    assert figure.axes[0].get_ylabel() == "OS, % of patients"
    assert "os by her2, hr_status: 240 patients" in str(os)
    assert len(str(os).splitlines()) <= 10
    assert repr(os) == f"<FittedSurvival: {os.title}>"


def test_rows_are_made_of_the_draws(os: fitted.FittedSurvival) -> None:
    table = os.estimates().set_index("estimand")
    for text, scale in (
        ("survival[os | her2=low @ 24 months]", 100),
        ("hazard_ratio[os | hr_status=negative ; her2: positive vs zero]", 1),
        ("median[os]", 1),
    ):
        low, middle, high = scale * np.quantile(os.draws(text), [0.025, 0.5, 0.975])
        row = table.loc[text]
        assert [row[f"posterior_{n}"] for n in ("lower", "median", "upper")] == pytest.approx(
            [low, middle, high], rel=1e-9
        )
    pd.testing.assert_frame_equal(
        os.estimates(["median[os]"]).set_index("estimand"), table.loc[["median[os]"]],
        check_dtype=False,
    )  # fmt: skip
    keyed = os.classical()
    assert {"median[os]", "hazard_ratio[os ; her2: low vs zero]"} <= set(keyed["estimand"])
    assert "Gray" not in " ".join(os.classical(variants=True)["method"])


def test_plots_of_arviz_are_matplotlib_figures(os: fitted.FittedSurvival) -> None:
    assert "rank" in dir(os.plots)
    for name in os.plots:
        some = {} if name == "energy" else {"var_names": ["reference_log_hazard", "smoothing"]}
        drawn = getattr(os.plots, name)(**some, size=(6, 4))
        assert drawn.axes
        assert tuple(drawn.get_size_inches()) == (6, 4)


def test_all_figures_are_drawn(os: fitted.FittedSurvival) -> None:
    from matplotlib.figure import Figure

    assert set(os.figures) == {"survival", "hazard", "hazard_ratio", "forest"}
    for name in os.figures:
        assert isinstance(getattr(os.figures, name)(), Figure)
    for figure, wrong in ((os.figures.survival, "er"), (os.figures.forest, "zero")):
        with pytest.raises(BadInput, match="no "):
            figure(wrong)
    with pytest.raises(AttributeError, match="there are: survival"):
        os.figures.curves()


@pytest.mark.parametrize("kind", ["path", "parquet", "polars", "arrow", "patients", "follow-up"])
def test_every_door_gives_the_same_cells(
    kind: str, os: fitted.FittedSurvival, tmp_path: Path
) -> None:
    frame: Any = patients()
    if kind == "path":
        frame.to_csv(tmp_path / "a.csv", index=False)
        frame = str(tmp_path / "a.csv")
    elif kind == "parquet":
        frame.to_parquet(tmp_path / "a.parquet")
        frame = tmp_path / "a.parquet"
    elif kind == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    elif kind == "arrow":
        frame = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    elif kind == "patients":
        frame = hb.read_patients(frame)
    elif kind == "follow-up":
        read = read_follow_up(frame, **COLUMNS, by=BY)
        xr.testing.assert_equal(hb.fit_survival(read).cells, os.cells)
        return
    xr.testing.assert_equal(hb.fit_survival(frame, **COLUMNS, by=BY).cells, os.cells)


@pytest.mark.slow
def test_a_factor_may_be_named_alone_and_an_outcome_given() -> None:
    fit = hb.fit_survival(
        patients(), **COLUMNS, by="her2", outcome="efs", reference={"her2": "low"}
    )
    assert "hazard_ratio[efs ; her2: zero vs low]" in set(fit.estimates()["estimand"])
    plain = hb.fit_survival(patients(), **COLUMNS)
    assert list(plain.analysis.levels) == [""]


def test_options_reach_the_model() -> None:
    fit = hb.fit_survival(
        patients(), **COLUMNS, by=BY, entry="entry", model="nonph", cuts="equal:6", times=[24],
        interactions=False, prior_median=(30, 10, 90),
        priors={"spread": hb.prior("HalfNormal", sigma=1.0)},
    )  # fmt: skip
    assert fit.analysis.model.options == {"nonproportional": ("her2",)}
    assert fit.cells.sizes["interval"] == 6
    assert fit.analysis.times == (24.0,)
    assert fit.analysis.model.priors["spread"]["sigma"] == 1.0
    assert fit.analysis.model.priors["reference_log_hazard"]["mu"] == pytest.approx(
        np.log(np.log(2) / 30)
    )
    assert "given alive" in fit.estimates(["median[os]"])["note"].iloc[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"time": ""}, "no time is named"),
        ({"event": ""}, "who had the event"),
        ({"by": "her"}, "there is no column 'her'"),
        ({"by": {"her2": ["zero", "high"]}}, "no row has the level 'high'"),
        ({"model": "cox"}, "no such model"),
        ({"cuts": "6,x"}, "cuts cannot be read"),
        ({"by": "her2", "reference": {"her2": "medium"}}, "no such reference level"),
        ({"times": (-3,)}, "months above 0"),
        ({"prior_median": (24,)}, "median, lower, upper"),
        ({"nonpositive": "keep"}, "nonpositive cannot be read"),
        ({"landmarks": "absent.csv"}, "no such file"),
        ({"robust_weight": 0.5}, "needs patients of another study"),
        ({"external": "absent.csv"}, "no such file"),
        ({"priors": {"sprad": hb.prior("HalfNormal", sigma=1.0)}}, "no prior named 'sprad'"),
    ],
)
def test_what_cannot_be_is_refused_before_a_draw(
    asked: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Specification, "fit", lambda *_: pytest.fail("it was fitted"))
    with pytest.raises(BadInput, match=message):
        hb.fit_survival(patients(), **{**COLUMNS, **asked})


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(BadInput, match="a data frame"):
        hb.fit_survival(3, **COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"entry": "entry"}], ids=["", "entry"])
def test_a_saved_fit_answers_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    fit = hb.fit_survival(patients(), **COLUMNS, by=BY, **options)
    read = hb.load_fit(fit.save(tmp_path / "os.nc"))
    pd.testing.assert_frame_equal(read.estimates(), fit.estimates(), check_dtype=False)
    pd.testing.assert_frame_equal(read.classical(), fit.classical(), check_dtype=False)
    assert isinstance(read, fitted.FittedSurvival)
    assert read.elpd.elpd == pytest.approx(fit.elpd.elpd, rel=1e-9)
    assert read.priors() == fit.priors()
    assert str(read) == str(fit)


def test_a_file_with_other_patients_is_refused(tmp_path: Path) -> None:
    fit = hb.fit_survival(patients(), **COLUMNS, by="her2")
    tree = fit.packed()
    tree["cells"]["events"] = tree["cells"]["events"] + 1
    with pytest.raises(BadInput, match="not those of its fit"):
        fitted.FittedSurvival.unpacked(tree)


def test_levels_of_the_cells_are_those_of_the_factors(os: fitted.FittedSurvival) -> None:
    assert levels(os.cells, "her2") == ["zero", "low", "positive"]
    assert os.analysis.levels["hr_status"] == ("positive", "negative")


OWN = """
from her2bayes import prior
DEFAULT_PRIORS = {"level": prior("Normal", mu=-3.5, sigma=0.5)}

def build(cells, priors):
    raise AssertionError("not sampled here")
"""


def own_fit(model: Any, *_: Any) -> Fit:
    """Draws of a model that gives its log hazard as a whole: groups differ by 0.3 a step."""
    found, cells = made_up_terms(model), model.data
    rng = np.random.default_rng(5)
    step = xr.DataArray([0.0, 0.3, 0.6], {"her2": cells["her2"].values}, "her2")
    level = xr.DataArray(rng.normal(-3.5, 0.1, (CHAINS, DRAWS)), dims=("chain", "draw"))
    whole = (level + step).expand_dims(interval=cells["interval"].values, axis=-1)
    groups = {name: xr.Dataset({"log_hazard": whole}) for name in ("posterior", "prior")}
    return Fit(xr.DataTree.from_dict({**groups, "sample_stats": found["sample_stats"]}),
               {"fit_id": "own", "model": "mine", "priors": {}, "own_model": {}})  # fmt: skip


def made_up_terms(model: Any) -> dict[str, xr.Dataset]:
    rng, shape = np.random.default_rng(4), (CHAINS, DRAWS)
    stats = {"diverging": np.zeros(shape, bool), "energy": rng.normal(size=shape)}
    return {"sample_stats": xr.Dataset({n: (("chain", "draw"), v) for n, v in stats.items()})}


def test_a_model_of_ones_own_answers_through_its_log_hazard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.setattr(Specification, "fit", own_fit)
    fit = hb.fit_survival(
        patients(), **COLUMNS, by={"her2": BY["her2"]}, model=tmp_path / "mine.py"
    )
    ratio = fit.draws("hazard_ratio[os ; her2: positive vs zero]")
    np.testing.assert_allclose(ratio, np.exp(0.6), rtol=1e-9)
    assert "mine" in str(fit)
    assert np.isfinite(fit.elpd.elpd)
    assert {"survival", "hazard_ratio"} <= {
        k.partition("[")[0] for k in fit.estimates()["estimand"]
    }
    with pytest.raises(BadInput, match="declares no choices"):
        fit.targets([])
    unlike = {"model": tmp_path / "mine.py", "priors": {"spread": hb.prior("HalfNormal", sigma=1)}}
    with pytest.raises(BadInput, match="no prior named 'spread'"):
        hb.fit_survival(patients(), **COLUMNS, **unlike)


def test_only_the_model_s_curves_are_shared(os: fitted.FittedSurvival) -> None:
    part = os.part(suppress_below=5)
    assert part.classical.empty
    assert part.tables == {}
    assert "checks" in os.part().tables


def test_a_mapped_endpoint_is_named_by_its_outcome(tmp_path: Path) -> None:
    columns = """
schema = 1
id = "trial"
title = "A trial"
rows = "patient"
[files]
table = "trial.csv"
[columns]
patient_id = "id"
[recurrence]
ihc = "ihc"
[endpoints.os]
time = "months"
event = "dead"
"""
    frame = patients().rename(columns={"os_months": "months", "os_event": "dead"})
    ihc = frame["her2"].map({"zero": "0", "low": "1+", "positive": "3+"})
    frame.assign(id=range(len(frame)), ihc=ihc).to_csv(tmp_path / "trial.csv", index=False)
    (tmp_path / "map.toml").write_text(columns)
    her2, where = {"her2": BY["her2"]}, str(tmp_path / "map.toml")
    fit = hb.fit_survival(tmp_path, map=where, time="os", by=her2)
    read = hb.read_patients(tmp_path, map=where)
    xr.testing.assert_equal(fit.cells, hb.fit_survival(read, time="os", by=her2).cells)
    assert "median[os | her2=low]" in set(fit.estimates()["estimand"])


@pytest.mark.filterwarnings("ignore:Estimated shape")  # made-up draws fit nobody
def test_arviz_leaves_out_patients_as_elpd_does(os: fitted.FittedSurvival) -> None:
    import arviz as az

    tree = os.patient_tree
    assert tree["log_likelihood"].sizes["patient"] == 240
    found = az.loo(tree)
    assert float(found.elpd) == pytest.approx(os.elpd.elpd, rel=1e-6)
