"""The section on shares, from real counts and draws of a Dirichlet posterior: no sampler needed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from her2bayes.distribution.section import _paragraphs, section
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import Fit
from her2bayes.page.fit_card import fit_card, worst

PRIORS = {"alpha": "ZeroSumNormal(sigma=1.5)", "tau": "HalfNormal(sigma=0.5)", "new": "Normal()"}


def dirichlet_fit(counts: xr.DataArray, fit_id: str, rng: np.random.Generator) -> Fit:
    """Draws of Dirichlet(counts + 1) in the place of a sampler's."""

    def shares(alpha: np.ndarray, chains: int) -> xr.Dataset:
        draws = np.stack([rng.dirichlet(row, (chains, 500)) for row in alpha], axis=2)
        dims = ("chain", "draw", "subgroup", "her2")
        labels = {name: counts[name].to_numpy() for name in dims[2:]}
        return xr.Dataset({"share": (dims, draws)}, coords=labels)

    stats = {
        "energy": (("chain", "draw"), rng.normal(size=(2, 500))),
        "diverging": (("chain", "draw"), np.zeros((2, 500), dtype=bool)),
    }
    tree = xr.DataTree.from_dict(
        {
            "posterior": shares(counts.to_numpy() + 1, 2),
            "prior": shares(np.ones(counts.shape), 1),
            "sample_stats": xr.Dataset(stats),
        }
    )
    record = {"fit_id": fit_id, "model": "her2_distribution", "priors": PRIORS, "data": "ab" * 32}
    return Fit(tree, {**record, "sampling": {"draws": 500, "chains": 2}})


@pytest.fixture(scope="module")
def result() -> SimpleNamespace:
    rng = np.random.default_rng(1)
    study = load_study(published_folder() / "shi2023")
    kept = ("", "ki67", "site")
    counts = {name: table for name, table in study.status_counts().items() if name in kept}
    fits, rows = {}, []
    for name, table in counts.items():
        fit = fits[name] = dirichlet_fit(table, f"{len(fits):012d}", rng)
        groups = fit.posterior["share"], fit.prior["share"]
        for level, label in zip(
            table["level"].to_numpy(), table["subgroup"].to_numpy(), strict=True
        ):
            given = ((name, str(level)),) if name else ()
            drawn = [g.sel(subgroup=label, her2="low", drop=True) for g in groups]
            rows.append(estimate(Estimand("share", "her2=low", given), *drawn, fit))
    draws = [
        g.sel(subgroup="≤30", her2="low", drop=True) - g.sel(subgroup=">30", her2="low", drop=True)
        for g in (fits["ki67"].posterior["share"], fits["ki67"].prior["share"])
    ]
    asked = Estimand("share_difference", "her2=low", contrast=Contrast("ki67", "≤30", ">30"))
    rows.append(estimate(asked, *draws, fits["ki67"], event=lambda x: x > 0, note="above 0"))
    labels = {name: factor.label for name, factor in study.factors.items()}
    analyses = [
        SimpleNamespace(factor=name, parent="relapse_type" if name == "site" else "", fit=fit)
        for name, fit in fits.items()
    ]
    return SimpleNamespace(
        counts=counts,
        fits=fits,
        estimates=estimates_table(rows),
        labels=labels,
        analyses=analyses,
    )


def test_a_figure_a_factor_that_names_the_patients(result) -> None:
    drawn = {figure.title: figure for figure in section(result).figures}
    assert list(drawn) == [
        "Prior and posterior: HER2 status of all patients",
        "HER2 status by site of biopsy or resection",
        "HER2 status by Ki-67 index of the recurrence (%)",
    ]
    assert "The same 247 patients." in drawn["HER2 status by site of biopsy or resection"].caption
    ki67 = drawn["HER2 status by Ki-67 index of the recurrence (%)"]
    assert "218 of 247" in ki67.caption
    assert "≤30" in ki67.alt
    assert len({figure.id for figure in drawn.values()}) == 3


def test_tables_name_each_interval_and_lead_to_the_fit(result) -> None:
    tables = {table.title: table.frame for table in section(result).tables}
    assert next(iter(tables)) == "Association of HER2 status with each factor"
    low = tables["HER2 status of all patients"].set_index("HER2").loc["low"]
    assert low["Observed"] == "127 of 247"
    assert low["Wilson"] == "51.4 (45.2–57.6)"
    # R 4.2.2: 100 * binom.test(127, 247)$conf.int
    assert low["Clopper-Pearson"] == "45.0–57.8"
    # R 4.2.2: q <- qchisq(1 - 0.05 / 3, 1); (q + 2 * 127 + c(-1, 1) * sqrt(q * (q + 4 * 127 *
    # (247 - 127) / 247))) / (2 * (247 + q)) gives 0.4385841 0.5891133
    assert low["Goodman"] == "43.9–58.9"
    assert low["fit_id"] == result.fits[""].fit_id


def test_the_association_table_answers_each_test_with_a_difference(result) -> None:
    frame = section(result).tables[0].frame.set_index("Factor")
    ki67 = frame.loc["Ki-67 index of the recurrence (%)"]
    assert ki67["Pearson P"] == "0.267"
    assert ki67["Largest difference"] == "HER2-low, ≤30 vs >30"
    assert float(ki67["Probability"].split("\N{NO-BREAK SPACE}")[0]) > 80
    assert frame.loc["Site of biopsy or resection", "Largest difference"] == ""


def test_a_failed_fit_is_named_in_its_figure(result) -> None:
    failed = result.estimates.assign(convergence="not converged: R-hat 1.03; tail ESS 212")
    made = section(SimpleNamespace(**{**vars(result), "estimates": failed}))
    assert "not converged: R-hat 1.03; tail ESS 212" in made.figures[1].caption
    assert [fit["title"] for fit in made.fits] == [
        "All patients",
        "Site of biopsy or resection, nested in type of first relapse",
        "Ki-67 index of the recurrence (%)",
    ]
    assert {fit["convergence"] for fit in made.fits} == {"not converged: R-hat 1.03; tail ESS 212"}


def test_the_card_reads_the_model_file(result) -> None:
    card = fit_card(result.fits["site"], "Site", result.estimates)
    assert "Multinomial" in card["equations"]
    assert card["priors"]["alpha"].startswith("ZeroSumNormal(sigma=1.5): with three categories")
    assert card["priors"]["new"] == "Normal()"
    assert card["convergence"] == "converged"
    assert card["diagnostics"]["Draws"] == "2 chains of 500"
    assert float(card["diagnostics"]["Max R-hat"]) < 1.05
    assert card["provenance"]["Data, SHA-256"] == "ab" * 8


def test_the_verdict_of_a_fit_holds_all_reasons() -> None:
    assert worst([]) == "converged"
    assert worst(["converged", "converged"]) == "converged"
    both = worst(
        ["converged", "not converged: R-hat 1.03; 2 divergences", "not converged: R-hat 1.03"]
    )
    assert both == "not converged: R-hat 1.03; 2 divergences"


def test_the_first_sentence_says_whose_status_is_printed() -> None:
    every, part = (xr.DataArray(np.full((1, 2), n), dims=("subgroup", "her2")) for n in (50, 30))
    assert _paragraphs({"": every}, "printed") == (
        "HER2 status of all 100 patients is printed, and by no factor.",
    )
    assert (
        "of the same 100 patients is printed by 1 factor."
        in _paragraphs({"": every, "site": every}, "printed")[0]
    )
    assert (
        "of 60 to 100 patients is counted by 2 factors."
        in _paragraphs({"": every, "site": every, "grade": part}, "counted")[0]
    )
