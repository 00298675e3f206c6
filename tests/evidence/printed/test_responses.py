"""Patients of unknown level are not patients without it: what responses are compared with.

Every expected number is a subtraction written beside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.responses import (
    OTHERS,
    Responses,
    Rest,
    patients_unknown,
    read_responses,
)
from her2bayes.evidence.printed.study import load_study, published_folder

TOML = """
schema = 1
id = "small"
title = "t"
citation = "c"
patients = 64
[factors.best_response]
label = "Best response"
levels = ["CR", "PR", "SD", "PD"]
groups = {{ orr = ["CR", "PR"] }}
{factors}
"""
NGS = """
[factors.ngs]
label = "Sequenced"
levels = ["yes", "no"]
[factors.myc]
label = "MYC"
levels = ["altered", "wild type"]
parent = "ngs"
within = { "altered" = "yes", "wild type" = "yes" }
"""
TESTED = """
[factors.pdl1]
label = "PD-L1"
levels = ["negative", "positive"]
unknown = ["not tested"]
"""
SITE = """
[factors.site]
label = "Site"
levels = ["liver", "lung", "bone"]
"""
LEDGER = (
    "claim_id,locator,estimand,statistic,text,value,unit,decimals,numerator,denominator,"
    "lower,upper,relation,p_value,reading,note"
)
RESPONSES = "factor,level,category,count,patients,locator"


def shown(folder: Path, factors: str, responses: list[str], ledger: list[str]) -> Responses:
    """Responses of a study with these files, 23 of 64 patients responding."""
    (folder / "study.toml").write_text(TOML.format(factors=factors), "utf-8")
    ledger = [share("best_response=PD", 16, 64), *ledger]
    rows = [f"c{n},t,{line}" for n, line in enumerate(ledger)]
    (folder / "estimates.csv").write_text("\n".join([LEDGER, *rows]) + "\n", "utf-8")
    lines = [f"{line},t" for line in [",,orr,23,64", *responses]]
    (folder / "responses.csv").write_text("\n".join([RESPONSES, *lines]) + "\n", "utf-8")
    found = read_responses(load_study(folder))
    assert found is not None
    return found


def cells(found: Responses, factor: str) -> dict[str, tuple[int, int]]:
    table = found.counts["orr", factor]
    return {
        str(level): (int(y), int(n))
        for level, y, n in zip(
            table["level"].values, table["responders"].values, table["patients"].values, strict=True
        )
    }


def share(outcome: str, count: int, of: int, given: str = "") -> str:
    return f"share[{outcome}{given}],percentage,,{100 * count / of:.1f},%,1,{count},{of},,,,,,"


def test_genes_of_ni_2025_are_compared_with_nobody() -> None:
    """28 of 64 sequenced: 28 - 6 and 28 - 7 without the alteration, 64 - 28 = 36 unknown."""
    study = load_study(published_folder() / "ni2025")
    found = read_responses(study)
    assert found is not None
    assert cells(found, "myc") == {"altered": (1, 6)}
    assert cells(found, "brca1") == {"altered": (1, 7)}
    assert found.rests == {
        ("orr", "myc"): Rest("wild type", 22, 0, 22, 36),
        ("orr", "brca1"): Rest("wild type", 21, 0, 21, 36),
    }
    assert patients_unknown(study, study.factors["pdl1"]) == 33  # 10 negative, 21 positive
    assert patients_unknown(study, study.factors["brca1_origin"]) == 57  # 64 - 7 altered


def test_responses_of_all_sequenced_give_the_wild_type(tmp_path: Path) -> None:
    """10 of 28 less 1 of 6: the comparison is with 9 of 22."""
    rows = ["myc,altered,orr,1,6", "ngs,yes,orr,10,28"]
    found = shown(tmp_path, NGS, rows, [share("ngs=yes", 28, 64)])
    assert cells(found, "myc") == {"altered": (1, 6), "wild type": (9, 22)}
    assert found.rests["orr", "myc"] == Rest("", 0, 0, 0, 36)
    assert cells(found, "ngs") == {"yes": (10, 28), "no": (13, 36)}


def test_most_responders_are_unknown_ones(tmp_path: Path) -> None:
    """60 sequenced, 40 altered with 2 responses: of 21 others at least 21 - 4 wild type."""
    found = shown(tmp_path, NGS, ["myc,altered,orr,2,40"], [share("ngs=yes", 60, 64)])
    assert found.rests["orr", "myc"] == Rest("wild type", 20, 17, 20, 4)


def test_a_denominator_tells_how_many_are_known(tmp_path: Path) -> None:
    """Nested without a count of the parent: its shares have 28 patients; without any, unknown."""
    ledger = [share("myc=altered", 6, 28, " | ngs=yes")]
    found = shown(tmp_path, NGS, ["myc,altered,orr,1,6"], ledger)
    assert found.rests["orr", "myc"].others == 22
    found = shown(tmp_path, NGS, ["myc,altered,orr,1,6"], [])
    assert found.rests["orr", "myc"] == Rest("wild type", None, 0, 22, None)
    found = shown(tmp_path, SITE, ["site,liver,orr,3,20"], [share("site=liver", 20, 60)])
    assert found.rests["orr", "site"] == Rest(OTHERS, 40, 16, 20, 4)


def test_unknown_levels(tmp_path: Path) -> None:
    """33 not tested: nothing is subtracted unless their own responses are printed."""
    ledger = [share("pdl1=not tested", 33, 64)]
    found = shown(tmp_path, TESTED, ["pdl1,negative,orr,2,10"], ledger)
    assert cells(found, "pdl1") == {"negative": (2, 10)}
    assert found.rests["orr", "pdl1"] == Rest("positive", 21, 0, 21, 33)
    rows = ["pdl1,negative,orr,2,10", "pdl1,not tested,orr,12,33"]
    found = shown(tmp_path, TESTED, rows, ledger)
    assert cells(found, "pdl1") == {"negative": (2, 10), "positive": (9, 21)}
    assert found.rests["orr", "pdl1"] == Rest("", 0, 0, 0, 33)
    rows = ["pdl1,negative,orr,2,10", "pdl1,positive,orr,8,20"]
    found = shown(tmp_path, TESTED, rows, [])
    assert set(cells(found, "pdl1")) == {"negative", "positive"}
    assert found.rests["orr", "pdl1"] == Rest("", 0, 0, 0, 34)


def test_everybody_known_leaves_the_others(tmp_path: Path) -> None:
    ledger = [share("site=liver", 20, 64)]
    found = shown(tmp_path, SITE, ["site,liver,orr,3,20"], ledger)
    assert cells(found, "site") == {"liver": (3, 20), OTHERS: (20, 44)}
    assert found.rests == {}
    with pytest.raises(BadInput, match="do not fit into all patients"):
        shown(tmp_path, SITE, ["site,liver,orr,13,20", "site,lung,orr,11,20"], [])


def test_a_level_named_unknown_is_none(tmp_path: Path) -> None:
    """Listed among the levels, as Ni 2025 does for PD-L1: 23 less 12 responders, 64 less 33."""
    listed = TESTED.replace('["negative", "positive"]', '["negative", "positive", "unknown"]')
    listed = listed.replace('unknown = ["not tested"]', "")
    rows = ["pdl1,negative,orr,2,10", "pdl1,unknown,orr,12,33"]
    found = shown(tmp_path, listed, rows, [share("pdl1=unknown", 33, 64)])
    assert cells(found, "pdl1") == {"negative": (2, 10), "positive": (9, 21)}
    assert found.rests["orr", "pdl1"] == Rest("", 0, 0, 0, 33)
