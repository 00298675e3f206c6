"""fit_distribution: doors to contracts, what is refused, answers of a fit; no sampler is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import her2bayes as hb
from her2bayes.distribution import estimates, fitted
from her2bayes.distribution.cells import terms
from her2bayes.estimand import parse
from her2bayes.inference.fit import Fit

PROVENANCE = {"fit_id": "0123456789ab", "options": {}, "priors": {}, "data": "ab" * 32}


def _stats(rng: np.random.Generator, chains: int, draws: int) -> xr.Dataset:
    size = (("chain", "draw"), rng.normal(size=(chains, draws)))
    never = (("chain", "draw"), np.zeros((chains, draws), dtype=bool))
    return xr.Dataset({"energy": size, "diverging": never})


def fake(build: Any, data: Any, **how: Any) -> Fit:
    """Draws of the prior of effects, whatever the counts: the arithmetic around them is tested."""
    rng = np.random.default_rng(1)
    name = build.__module__.rsplit(".", 1)[-1]

    def group(chains: int) -> xr.Dataset:
        size = (chains, 300)
        if isinstance(data, xr.DataArray):
            share = np.stack([rng.dirichlet(row + 1, size) for row in data.values], axis=2)
            dims = ("chain", "draw", "subgroup", "her2")
            return xr.Dataset({"share": (dims, share)}, {n: data[n].values for n in dims[2:]})
        found = terms(data, how["options"].get("exchangeable", ()))
        names = [f"{t.name} {k}" for t in found for k in range(t.size)]
        k = data.sizes["her2"]
        effect = 0.3 * rng.normal(size=(*size, len(names), k))
        alpha = rng.normal(size=(*size, k))
        columns = np.hstack(
            [np.zeros((data.sizes["subgroup"], 0)),
             *(t.columns({f: list(data[f].values.astype(str)) for f in t.factors}) for t in found)]
        )  # fmt: skip
        logit = alpha[:, :, None] + np.einsum("re,cdeh->cdrh", columns, effect)
        share = np.exp(logit) / np.exp(logit).sum(axis=-1, keepdims=True)
        head = ("chain", "draw")
        return xr.Dataset(
            {"alpha": ((*head, "her2"), alpha), "effects": ((*head, "effect", "her2"), effect),
             "share": ((*head, "subgroup", "her2"), share),
             "tau": ((*head, "term"), np.abs(rng.normal(size=(*size, len(found)))))},
            {"her2": data["her2"].values, "effect": names, "subgroup": data["subgroup"].values,
             "term": [t.name for t in found]},
        )  # fmt: skip

    tree = xr.DataTree.from_dict(
        {"posterior": group(2), "prior": group(1), "sample_stats": _stats(rng, 2, 300)}
    )
    record = {**PROVENANCE, "model": name, "sampling": {"draws": 300, "chains": 2}}
    tree.attrs["provenance"] = __import__("json").dumps(record)
    return Fit(tree, record)


@pytest.fixture
def no_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "fit", fake)


FRAME = pd.DataFrame(
    {
        "her2": ["zero", "low", "positive", "zero/low", "", "low", "low", "unknown", "zero", "low"],
        "hr_status": ["positive"] * 5 + ["negative"] * 5,
        "centre": ["A", "B", "C", "A", "B", "C", "A", "B", "C", ""],
    }
)
COUNTS = pd.DataFrame(
    {
        "factor": ["", "", "", *["hr_status"] * 6],
        "level": ["", "", "", *["positive"] * 3, *["negative"] * 3],
        "her2": ["zero", "low", "positive"] * 3,
        "n": [30, 60, 10, 20, 45, 5, 10, 15, 5],
    }
)


@pytest.mark.usefixtures("no_sampler")
class TestDoors:
    def test_patients_of_a_frame_become_crossed_cells(self) -> None:
        fit = hb.fit_distribution(FRAME, by=["hr_status", "centre"], exchangeable="centre")
        table = fit.analyses[0].table
        assert table.levels == {"hr_status": ["positive", "negative"], "centre": ["A", "B", "C"]}
        assert fit.patients == 9
        assert "1 more left out" in " ".join(fit.facts)
        assert "2 of unknown status" in " ".join(fit.facts)
        assert fit.counts[""].values.tolist() == [[2, 3, 1]]
        assert fit.counts["centre"].attrs == {"partial": 1, "unknown": 2, "ordered": False}

    def test_a_file_gives_what_its_frame_gives(self, tmp_path: Path) -> None:
        FRAME.to_csv(tmp_path / "patients.csv", index=False)
        FRAME.to_parquet(tmp_path / "patients.parquet")
        ours = hb.fit_distribution(FRAME, by="hr_status")
        for name in ("patients.csv", "patients.parquet"):
            theirs = hb.fit_distribution(tmp_path / name, by="hr_status")
            xr.testing.assert_equal(
                theirs.analyses[0].table.cells["counts"], ours.analyses[0].table.cells["counts"]
            )

    def test_counts_by_one_factor_each_are_tables_of_the_older_model(self) -> None:
        fit = hb.fit_distribution(COUNTS, by="hr_status")
        assert [a.factor for a in fit.analyses] == ["hr_status", ""]
        assert {f.model for f in fit.fits.values()} == {"her2_distribution"}
        assert fit.counts["hr_status"].sel(subgroup="positive").values.tolist() == [20, 45, 5]

    def test_counts_with_a_column_a_factor_are_crossed(self) -> None:
        rows = [
            (y, hr, her2, 10)
            for y in ("2019", "2020", "2021")
            for hr in ("positive", "negative")
            for her2 in ("zero", "low", "positive", "zero/low", "unknown")
        ]
        frame = pd.DataFrame(rows, columns=["year", "hr_status", "her2", "n"])
        fit = hb.fit_distribution(frame, exchangeable=["year"])
        assert fit.patients == 300
        assert fit.fits["year x hr_status"].model == "her2_distribution_crossed"

    def test_any_classes_ultralow_among_them(self) -> None:
        classes = ("null", "ultralow", "1+", "2+", "3+")
        rows = [("A", c, 5) for c in (*classes, "null/ultralow")]
        frame = pd.DataFrame(rows, columns=["centre", "her2", "n"])
        fit = hb.fit_distribution(frame, by="centre", classes=classes)
        assert fit.draws("share[her2=ultralow]").shape == (2, 300)
        total = sum(fit.draws(f"share[her2={c}]") for c in classes)
        np.testing.assert_allclose(total, 1)

    def test_levels_stand_in_the_order_given(self) -> None:
        fit = hb.fit_distribution(FRAME, by={"hr_status": ["negative", "positive"]})
        assert fit.analyses[0].table.levels["hr_status"] == ["negative", "positive"]


@pytest.mark.usefixtures("no_sampler")
class TestAnswers:
    @pytest.fixture
    def fit(self) -> fitted.FittedDistribution:
        return hb.fit_distribution(FRAME, by=["hr_status", "centre"], exchangeable=["centre"])

    def test_a_level_is_the_mix_of_its_own_cells(self, fit: Any) -> None:
        table, share = fit.analyses[0].table, fit.analyses[0].fit.posterior["share"]
        inside = np.array(table.level_of["hr_status"]) == "positive"
        weight = table.patients * inside / (table.patients * inside).sum()
        ours = fit.draws("share[her2=low | hr_status=positive]")
        expected = np.einsum("r,cdr->cd", weight, share.sel(her2="low").values)
        np.testing.assert_allclose(ours, expected)

    def test_a_standardised_share_has_the_mix_of_all_patients(self, fit: Any) -> None:
        weight = {c: n / 9 for c, n in zip("ABC", (3, 3, 3), strict=True)}
        expected = sum(
            w * fit.draws(f"share[her2=low | hr_status=negative, centre={c}]")
            for c, w in weight.items()
        )
        ours = fit.draws("standardised_share[her2=low | hr_status=negative]")
        np.testing.assert_allclose(ours, expected)

    def test_a_given_population_takes_the_place_of_the_cohort(self) -> None:
        standard = pd.DataFrame({"hr_status": ["positive"], "centre": ["B"], "weight": [2.0]})
        fit = hb.fit_distribution(FRAME, by=["hr_status", "centre"], standard=standard)
        ours = fit.draws("standardised_share[her2=low | hr_status=negative]")
        alone = fit.draws("share[her2=low | hr_status=negative, centre=B]")
        np.testing.assert_allclose(ours, alone)
        with pytest.raises(hb.BadInput, match="not among the patients"):
            hb.fit_distribution(FRAME, by="centre", standard=standard.assign(centre="Z"))

    def test_several_estimands_at_once_are_a_dataset(self, fit: Any) -> None:
        found = fit.draws(["share[her2=low]", "share[her2=low | centre=new centre]"])
        assert set(found) == {"share[her2=low]", "share[her2=low | centre=new centre]"}

    def test_rows_say_which_patients_they_mean(self, fit: Any) -> None:
        rows = fit.estimates().set_index("estimand")
        new = str(parse("share[her2=low | centre=new centre]"))
        assert rows.loc[new, "note"].startswith("predictive: a group not among the 3 seen")
        one = "standardised_difference[her2=low ; hr_status: positive vs negative]"
        assert "everything else as in all 9 patients" in rows.loc[one, "note"]
        assert not rows.index.duplicated().any()
        assert fit.estimates([new])["estimand"].tolist() == [new]

    def test_what_is_not_answered_says_what_is(self, fit: Any) -> None:
        with pytest.raises(hb.BadInput, match="centre: A, B, C"):
            fit.draws("share[her2=low | centre=Z]")
        with pytest.raises(hb.BadInput, match="fit_survival"):
            fit.draws("median[os | her2=low]")

    def test_conclusions_are_asked_of_the_table_that_answers_them(self, fit: Any) -> None:
        from her2bayes.sensitivity.run import read_conclusions

        asked = read_conclusions(["share[her2=low | centre=new centre] > 0.4"], None)
        (target,) = fit.targets(asked)
        assert "unknown status" in [axis.name for axis in target.axes]
        with pytest.raises(hb.BadInput, match="centre: A, B, C"):
            fit.targets(read_conclusions(["share[her2=low | centre=Z] > 0.4"], None))

    def test_unknown_status_moves_the_shares_between_none_and_all(self, fit: Any) -> None:
        found = fit.unknown().set_index("HER2")
        middle = {
            name: float(found.loc["low", name].split()[0])
            for name in ("none of them", "missing at random", "all of them")
        }
        assert middle["none of them"] < middle["missing at random"] < middle["all of them"]
        at_random = 100 * float(fit.draws("share[her2=low]").median())
        assert middle["missing at random"] == pytest.approx(at_random, abs=0.06)

    def test_figures_are_matplotlib_figures(self, fit: Any) -> None:
        from matplotlib.figure import Figure

        drawn = [fit.figures.shares("hr_status"), fit.figures.groups(), fit.figures.prior()]
        drawn.append(fit.figures.grid("hr_status", "centre"))
        assert all(isinstance(one, Figure) for one in drawn)
        with pytest.raises(hb.BadInput, match="no such factor"):
            fit.figures.shares("stage")

    def test_saved_and_read_it_answers_the_same(self, fit: Any) -> None:
        import io

        content = bytes(fit.packed().to_netcdf(engine="h5netcdf"))
        kept = xr.load_datatree(io.BytesIO(content), engine="h5netcdf")
        again = fitted.FittedDistribution.unpacked(kept)
        pd.testing.assert_frame_equal(again.estimates(), fit.estimates())
        assert again.title == fit.title

    def test_a_report_to_share_counts_nobody(self, fit: Any) -> None:
        part = fit.part(suppress_below=5)
        assert part.classical.empty
        tables = [table.frame for table in part.sections[0].tables]
        assert not any({"Observed", "Wilson"} & set(frame.columns) for frame in tables)
        assert not part.estimates["note"].str.contains("patients").any()

    def test_the_section_counts_and_predicts(self, fit: Any) -> None:
        made = {table.title: table.frame for table in fit.section().tables}
        centres = made["HER2 status by centre"]
        assert "new centre" in set(centres["Level"])
        assert "Standardised" in centres.columns
        assert "If unknown status is not missing at random" in made


@pytest.mark.usefixtures("no_sampler")
class TestClassical:
    def test_every_interval_and_test_by_name(self) -> None:
        fit = hb.fit_distribution(COUNTS)
        found = fit.classical(every=True)
        methods = set(found["method"])
        named = {f"95 % CI: {name}" for name in ("Wilson", "Clopper-Pearson", "Jeffreys")}
        assert named | {"Kruskal-Wallis", "Cochran-Armitage trend"} <= methods
        assert not fit.classical()["estimand"].duplicated().any()

    def test_trends_are_for_levels_in_an_order_that_somebody_gave(self) -> None:
        trends = {"Cochran-Armitage trend", "linear-by-linear trend"}
        plain, given = (
            set(hb.fit_distribution(FRAME, by=by).classical(every=True)["method"])
            for by in ("centre", {"centre": ["A", "B", "C"]})
        )
        assert not trends & plain
        assert trends <= given

    def test_direct_standardisation_by_hand(self) -> None:
        rows = [("A", "x", "zero", 8), ("A", "x", "low", 2), ("A", "y", "zero", 5),
                ("A", "y", "low", 15), ("B", "x", "zero", 6), ("B", "x", "low", 24),
                ("B", "y", "zero", 10), ("B", "y", "low", 10)]  # fmt: skip
        frame = pd.DataFrame(rows, columns=["arm", "site", "her2", "n"])
        fit = hb.fit_distribution(frame, classes=("zero", "low"))
        row = fit.classical().set_index("estimand").loc["standardised_share[her2=low | arm=A]"]
        # 40 patients in each site: (40 * 2/10 + 40 * 15/20) / 80
        assert row["reproduced"] == pytest.approx(100 * (0.5 * 0.2 + 0.5 * 0.75))
        sd = np.sqrt(0.25 * 0.2 * 0.8 / 10 + 0.25 * 0.75 * 0.25 / 20)
        assert row["reproduced_upper"] == pytest.approx(100 * (0.475 + 1.959964 * sd), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"by": "hr"}, "hr"),
        ({"by": "hr_status", "exchangeable": "centre"}, "no such factor"),
        ({"by": "hr_status", "model": "dirichle"}, "did you mean 'dirichlet'"),
        ({"by": "hr_status", "model": "dirichlet"}, "readings of one class"),
        (
            {"by": ["hr_status", "centre"], "model": "ordered", "partial": False},
            "crosses no factors",
        ),
        (
            {"by": "hr_status", "priors": {"sd": hb.prior("HalfNormal", sigma=1.0)}},
            "no prior named",
        ),
        ({"by": "hr_status", "classes": ("zero", "low")}, "positive"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_draw(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], match: str
) -> None:
    from her2bayes.inference import engine

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a fit was started")

    monkeypatch.setattr(engine, "sample", never)
    with pytest.raises(hb.BadInput, match=match):
        hb.fit_distribution(FRAME, **arguments)


def test_counts_that_are_none_are_refused_with_their_row() -> None:
    with pytest.raises(hb.BadInput, match="row 4"):
        hb.fit_distribution(COUNTS.assign(n=[30, 60, -1, *range(6)]))
    with pytest.raises(hb.BadInput, match="not a set of HER2 classes"):
        hb.fit_distribution(COUNTS.assign(her2=["zero", "lo", "positive"] * 3))


# scipy 1.16: stats.kruskal over rows expanded to ranks of [0]*8+[1]*17+[2]*9, ...
def test_kruskal_wallis_from_counts_is_that_of_patients() -> None:
    from scipy import stats

    from her2bayes.distribution.classical import cochran_armitage, kruskal_wallis

    table = np.array([[8, 17, 9], [3, 11, 16], [12, 7, 7]])
    groups = [np.repeat([0, 1, 2], row) for row in table]
    ours, theirs = kruskal_wallis(table), stats.kruskal(*groups)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    # R 4.2.2: prop.trend.test(c(8, 3, 12), c(34, 30, 26)) is the same statistic
    two = np.stack([table[:, 0], table.sum(axis=1) - table[:, 0]], axis=1)
    score, n = np.arange(1, 4), table.sum(axis=1)
    p = two[:, 0].sum() / n.sum()
    t = (score * (two[:, 0] - n * p)).sum()
    v = p * (1 - p) * ((score**2 * n).sum() - (score * n).sum() ** 2 / n.sum())
    assert cochran_armitage(two).statistic == pytest.approx(t**2 / v)


OWN = '''"""Shares alike in all cells."""
import her2bayes as hb

DEFAULT_PRIORS = {"share": hb.prior("Dirichlet", a=1.0, means="any shares alike")}


def build(data, priors):
    import numpy as np
    import pymc as pm

    counts = (data["counts"] * data["incidence"]).sum("reading").transpose("subgroup", "her2")
    with pm.Model(coords={n: data[n].values for n in ("subgroup", "her2")}) as model:
        p = pm.Dirichlet("p", a=np.full(data.sizes["her2"], priors["share"]["a"]), dims="her2")
        pm.Deterministic("share", p[None, :] + 0 * counts.values, dims=("subgroup", "her2"))
        pm.Multinomial("y", n=counts.values.sum(1), p=p, observed=counts.values)
    return model
'''


@pytest.mark.usefixtures("no_sampler")
def test_a_model_of_ones_own_takes_cells_whatever_the_door(tmp_path: Path) -> None:
    (tmp_path / "alike.py").write_text(OWN)
    paper = hb.load_study("shi2023")
    for data in (paper, FRAME, COUNTS):
        fit = hb.fit_distribution(data, by="hr_status", model=tmp_path / "alike.py")
        assert fit.analyses[0].fit.model == "alike"
        assert set(fit.analyses[0].table.cells.dims) == {"subgroup", "reading", "her2"}
        assert fit.draws("share[her2=low | hr_status=positive]").shape == (2, 300)
    with pytest.raises(hb.BadInput, match="several factors"):
        hb.fit_distribution(paper, by=["hr_status", "site"], model=tmp_path / "alike.py")
