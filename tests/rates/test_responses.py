"""Which response rates are compared, and which stand alone."""

from __future__ import annotations

import pytest
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.responses import Rest, read_responses
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.rates import classical, responses


def test_adjusted_p_counts_the_comparisons_that_are_made() -> None:
    """Six, not eight with the genes. R 4.2.2: p <- fisher.test(matrix(c(0, 10, 23, 31), 2))$p.value
    is 0.010284364; p.adjust of the six rows by "holm" gives 0.061706187 for it.
    """
    found = read_responses(load_study(published_folder() / "ni2025"))
    assert found is not None
    rows = classical.tests(found.counts, {})
    assert [row["factor"] for row in rows] == ["ihc", "brain_metastases", "prior_trop2"] * 2
    trop2 = rows[2]
    assert trop2["cells"] == ((0, 10), (23, 54))
    assert trop2["fisher"] == pytest.approx(0.010284364, abs=1e-9)
    assert trop2["holm"] == pytest.approx(0.061706187, abs=1e-9)


def counts(factor: str, **levels: tuple[int, int]) -> xr.Dataset:
    return xr.Dataset(
        {
            "responders": ("subgroup", [y for y, _ in levels.values()]),
            "patients": ("subgroup", [n for _, n in levels.values()]),
        },
        coords={
            "subgroup": list(levels),
            "factor": ("subgroup", [factor] * len(levels)),
            "level": ("subgroup", list(levels) if factor else [""]),
        },
    )


def test_a_single_level_stands_alone_and_patients_left_over_are_counted() -> None:
    tables = {
        ("orr", ""): counts("", all=(23, 64)),
        ("orr", "gene"): counts("gene", altered=(1, 6)),
        ("orr", "ihc"): counts("ihc", low=(10, 30), high=(12, 30)),
    }
    assert list(responses.compared(tables)) == [("orr", "ihc")]
    assert responses.alone(tables) == {
        Estimand("response_rate", "orr"): (23, 64),
        Estimand("response_rate", "orr", (("gene", "altered"),)): (1, 6),
    }
    assert responses.left_out(tables) == {
        ("orr", "gene"): Rest("", 0, 0, 0, 58),
        ("orr", "ihc"): Rest("", 0, 0, 0, 4),
    }


def test_a_level_named_unknown_is_not_compared() -> None:
    tables = {
        ("orr", "gene"): counts("gene", altered=(1, 6), unknown=(12, 33), wild=(9, 22)),
        ("orr", "site"): counts("site", missing=(1, 2)),
    }
    kept = responses.known(tables)
    assert list(kept) == [("orr", "gene")]
    assert list(kept["orr", "gene"]["level"].values) == ["altered", "wild"]
    assert responses.left_out(tables)["orr", "gene"] == Rest("", 0, 0, 0, 33)
    with pytest.raises(BadInput, match="every group is of unknown level"):
        responses.tabulated("t", {("orr", "site"): tables["orr", "site"]})
    rows = classical.tests(kept, {})
    assert [(row["a"], row["b"]) for row in rows] == [("altered", "wild")]
