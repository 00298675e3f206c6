"""The sections on response and adverse events of Ni 2025, from one quick fit of each family."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.page.evidence_table import join
from her2bayes.page.section import Section
from her2bayes.rates import borrowed_rates
from her2bayes.rates.borrowed_rates import conversion, predict
from her2bayes.rates.fitted import AdverseEventFit, ResponseFit, fit_adverse_events, fit_response
from her2bayes.rates.section_events import ordered

QUICK = Sampling(draws=600, tune=400, chains=2)
NI = load_study(published_folder() / "ni2025")


@pytest.fixture(scope="module")
def fits(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Fits of the quick report of Ni 2025, which are of the same sampling."""
    kept = reproduced / "out" / "ni2025" / "fits"
    return Store(Path(shutil.copytree(kept, tmp_path_factory.mktemp("ni2025") / "fits")))


@pytest.fixture(scope="module")
def result(fits: Store) -> ResponseFit:
    return fit_response(NI, sampling=QUICK, store=fits)


@pytest.fixture(scope="module")
def events(fits: Store) -> AdverseEventFit:
    found = fit_adverse_events(NI, sampling=QUICK, store=fits)
    assert isinstance(found, AdverseEventFit)
    return found


def check(section: Section, estimates: pd.DataFrame) -> None:
    """Fits that are linked exist, no figure is empty, ids are unique."""
    known = {card["fit_id"] for card in section.fits if "fit_id" in card}
    assert set(estimates["fit_id"]) <= known
    ids = [figure.id for figure in section.figures]
    assert len(set(ids)) == len(ids)
    for figure in section.figures:
        assert figure.svg.startswith("<svg")
        assert figure.alt
    for table in section.tables:
        assert len(table.frame)


@pytest.mark.slow
def test_section_on_response(result: ResponseFit) -> None:
    section = result.section()
    check(section, result.estimates())
    titles = [figure.title for figure in section.figures]
    assert titles[0] == "Best response"
    assert any(figure.id == "figure-tipping-orr" for figure in section.figures)
    text = " ".join(section.paragraphs)
    assert "8.5 months" in text
    assert "18.2 months" in text
    assert "nothing says how precise it is" in text
    assert "20 of 40" in text
    assert "25 of 108 low recurrences had been zero" in text
    assert "MYC: ORR of the 22 patients who are “wild type” is not printed (0 to 22" in text
    assert "36 further patients have no known level" in text
    tables = {table.title: table.frame for table in section.tables}
    compared = tables["Comparisons of two levels"]
    assert not compared["Factor"].isin(["MYC", "BRCA1"]).any()
    assert list(compared.loc[compared["Compared"] == "yes vs no", "Holm"])[1] == "0.062"
    alone = tables["Levels that are not compared, and patients left out"].set_index("Factor")
    assert alone.loc["MYC", "Observed"] == "1 of 6"
    assert alone.loc["BRCA1", "Not counted"] == "wild type: 21 (0 to 21 responders)"
    assert alone.loc["BRCA1", "Unknown"] == "36"


@pytest.mark.slow
def test_every_printed_rate_has_a_posterior(result: ResponseFit, events: AdverseEventFit) -> None:
    audited = NI.ledger[["claim_id", "estimand", "statistic", "unit", "reading"]].assign(
        reproduced=float("nan"), evidence_kind="recomputed", note="", method=""
    )
    estimates = pd.concat([result.estimates(), events.estimates()], ignore_index=True)
    classical = pd.concat([result.classical(), events.classical()], ignore_index=True)
    table = join(NI, audited, estimates, classical)
    printed = table[table["claim_id"] != ""]
    kinds = printed["estimand"].str.partition("[")[0]
    wanted = kinds.isin(["response_rate", "event_rate", "share"])
    left = printed[wanted & printed["posterior_median"].isna()]
    assert list(left["estimand"]) == ["share[os_event=yes]"]  # depends on follow-up
    one = printed.set_index("claim_id").loc["ni.safety.ild_g3"]
    assert one["unit"] == "patients"
    assert 0.1 < one["posterior_median"] < 1.5
    rates = printed.set_index("claim_id")
    assert rates.loc["ni.table2.orr", "posterior_median"] == pytest.approx(36.5, abs=1)
    assert rates.loc["ni.eff.orr_trop2", "posterior_upper"] < 40


@pytest.mark.slow
def test_section_on_adverse_events(events: AdverseEventFit) -> None:
    section = events.section()
    check(section, events.estimates())
    assert "between 6 and 21 of 64 patients, printed 9" in " ".join(section.paragraphs)
    systems = [row for row, _ in ordered(events)]
    assert systems[0] == "gastrointestinal"
    assert len(section.tables[0].frame) == 32
    rates = events.estimates().set_index("estimand")["posterior_median"]
    for event in map(str, events.data.counts["event"].values):
        low, high = (rates[f"event_rate[{event} | severity={s}]"] for s in ("grade 3-4", "any"))
        # febrile neutropenia is severe by definition: one rate at both severities
        assert (low == high) if event == "febrile neutropenia" else (low < high)


def test_only_counts_are_borrowed() -> None:
    found = borrowed_rates.outside_of(NI, "orr")
    assert found is not None
    assert (found[0].responders, found[0].patients) == ((20,), (40,))
    assert borrowed_rates.outside_of(NI, "dcr") is None
    refused = {item.printed: item.reason for item in borrowed_rates.refusals(NI)}
    assert {"8.5 months", "18.2 months"} <= set(refused)
    assert all("no weight" in reason for reason in refused.values())


def test_conversion_is_a_column_of_the_transition_table() -> None:
    """Shi 2023: of the low recurrences 25 had been zero and 83 low (the abstract's 25 fits)."""
    (found,) = conversion(NI)
    assert (found.converted, found.patients) == (12, 64)
    assert (found.from_zero, found.from_low) == (25, 83)
    assert found.lower <= found.converted <= found.upper
    assert found.expected == pytest.approx(64 * 26 / 110)
    assert predict(64, 64, 25, 83, "").tail < 1e-6


def test_borrowing_of_nobody_is_refused() -> None:
    with pytest.raises(Exception, match="more responders than patients"):
        borrowed_rates.borrow("orr", (5, 4), borrowed_rates.Outside((1,), (2,)), "x")


def test_conversion_is_predicted_from_recurrences_only(monkeypatch, tmp_path):
    """Pairs before and after neoadjuvant treatment say nothing of recurrences."""
    shipped = published_folder() / "shi2023"
    shutil.copytree(shipped, tmp_path / "shi2023")
    monkeypatch.setattr("her2bayes.evidence.printed.study.published_folder", lambda: tmp_path)
    (found,) = conversion(NI)
    assert "Shi" in found.source
    design = tmp_path / "shi2023" / "study.toml"
    text = design.read_text("utf-8")
    design.write_text(text.replace("primary to recurrence", "before to after neoadjuvant"), "utf-8")
    assert conversion(NI) == ()
