"""The shipped studies: every printed number is there, as printed, and becomes the contracts."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.printed.schema import LEDGER, TABLES
from her2bayes.evidence.printed.study import load_study, published_folder, study_folder

CLAIMS = Path(__file__).resolve().parents[4] / "shared" / "published"
STUDIES = ("shi2023", "ni2025")
# sha256 of the sorted ids of claims_<study>.csv joined by line feeds, and their number
GIVEN_IDS = {
    "shi2023": ("51d44b32ff08679ce115852553172173891adf01cefc554ab47df653f36ce446", 185),
    "ni2025": ("e4a2f09eebe4cae5065eb1f6710e272713bfaefbbfdbdc048075caa054b2e9ca", 182),
}
STATISTIC = {
    "count": "count",
    "percentage": "percentage",
    "median": "median",
    "median (range)": "median_range",
    "median (95% CI)": "median_ci",
    "hazard ratio": "hazard_ratio",
    "P value": "p_value",
}
# where the given list says something else than the paper, which is what we keep
OTHER_PARTS = {"ni.safety.dose_reduction_reasons", "ni.disc.sg10"}
IN_WORDS = {"ni.eff.orr_trop2": "0"}  # printed "None"


@pytest.fixture(scope="module", params=STUDIES)
def study(request):
    return load_study(study_folder(request.param))


def given(study_id: str) -> list[dict[str, str]]:
    file = CLAIMS / f"claims_{study_id}.csv"
    if not file.exists():
        pytest.skip(f"{file} is not at hand; the ids are checked by their digest")
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def added(claim_id: str) -> bool:
    """Whether the row was added to the given list: statements, words, quoted parts."""
    return any(part in claim_id for part in (".sig.", ".approx.")) or claim_id in {
        "ni.eff.bm_n",
        "ni.eff.trop2_n",
        "ni.ngs.brca1_somatic",
        "ni.safety.ild_g3",
        "ni.safety.dose_reduction_vomiting",
        "ni.safety.dose_reduction_neutropenia",
        "ni.disc.orr_sg",
        "ni.disc.ild_g3",
    }


def test_ids_of_the_given_lists_are_kept(study):
    kept = sorted(x for x in study.ledger["claim_id"] if not added(x))
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()
    assert (digest, len(kept)) == GIVEN_IDS[study.id]


def test_values_are_as_printed(study):
    rows = study.ledger.set_index("claim_id")
    claims = given(study.id)
    assert {c["id"] for c in claims} == {x for x in rows.index if not added(x)}
    for claim in claims:
        row = rows.loc[claim["id"]]
        value = IN_WORDS.get(claim["id"], claim["value"].removesuffix("%"))
        assert row["value"] == value, claim["id"]
        assert row["p_value"] == claim["p_value"], claim["id"]
        assert row["statistic"] == STATISTIC[claim["kind"]], claim["id"]
        assert row["locator"] == claim["locator"], claim["id"]
        for limit in ("lower", "upper"):
            assert not claim[limit] or row[limit] == claim[limit], claim["id"]
        for part in ("numerator", "denominator"):
            if claim[part] and claim["id"] not in OTHER_PARTS:
                assert row[part] == int(claim[part]), claim["id"]


def test_numbers_of_the_ledger_stand_in_its_text(study):
    assert study.remarks == ()


def test_file_and_ledger_hold_the_same_text(study):
    with (study.folder / LEDGER).open(encoding="utf-8", newline="") as handle:
        file = list(csv.DictReader(handle))
    for column in ("claim_id", "estimand", "text", "value", "lower", "upper", "p_value"):
        assert list(study.ledger[column]) == [row[column] for row in file]
    assert all(str(parse(row["estimand"])) == row["estimand"] for row in file)


def test_parsed_numbers_stand_beside_the_text():
    rows = load_study(study_folder("shi2023")).ledger.set_index("claim_id")
    ratio = rows.loc["shi.results.surv.hr_pos_low"]
    parsed = ratio[["value_number", "lower_number", "upper_number", "p_number"]]
    assert list(parsed) == [0.422, 0.199, 0.892, 0.024]
    below = rows.loc["shi.abstract.hr_p"]
    assert (below["p_number"], below["p_relation"], below["relation"]) == (0.001, "<", "<")
    assert np.isnan(below["value_number"])
    assert rows.loc["shi.table1.site.ipsi_breast.low", "value"] == "50.0"


def test_contradictions_are_kept():
    shi = load_study(study_folder("shi2023")).ledger.set_index("claim_id")
    ni = load_study(study_folder("ni2025")).ledger.set_index("claim_id")
    assert shi.loc["shi.abstract.zero_to_low", "numerator"] == 25
    assert shi.loc["shi.results.evol.zero_to_low", "numerator"] == 20
    assert shi.loc["shi.abstract.bcss_dm", "p_value"] == "0.0037"
    assert shi.loc["shi.results.surv.dm_p", "p_value"] == "0.0039"
    assert shi.loc["shi.results.samples254", "value"] == "254"
    row = ni.loc["ni.safety.dose_reduction"]
    assert (row["numerator"], row["denominator"], row["value"]) == (5, 64, "10.9")


def test_status_counts_of_shi():
    """Table 1 of Shi 2023, sums by hand: 247 patients, 218 with known Ki-67."""
    tables = load_study(study_folder("shi2023")).status_counts()
    sums = {name: int(table.sum()) for name, table in tables.items()}
    every = dict.fromkeys(("", "age", "bcfi", "relapse_type", "site", "hr_status"), 247)
    assert sums == every | {"ki67": 218}
    for name, table in tables.items():
        assert table.dims == ("subgroup", "her2")
        assert table.dtype == np.int64
        assert list(table["her2"].values) == ["zero", "low", "positive"]
        assert set(table["factor"].values) == {name}
    assert tables["hr_status"].sel(subgroup="positive", her2="low") == 92
    whole = tables[""].isel(subgroup=0)
    for name in set(sums) - {"", "ki67"}:
        assert (tables[name].sum("subgroup").values == whole.values).all()


def test_sites_are_nested_in_types_of_relapse():
    tables = load_study(study_folder("shi2023")).status_counts()
    summed = tables["site"].groupby("parent").sum()
    for level in ("LRR", "DM", "CBC"):
        found = summed.sel(parent=level).values
        assert (found == tables["relapse_type"].sel(subgroup=level).values).all()


def test_transition_facts_of_shi_add_up():
    facts = load_study(study_folder("shi2023")).transition_facts
    assert facts["value"].dtype == np.int64
    overall = facts[(facts["factor"] == "") & (facts["reading"] == "")].set_index("cells")["value"]
    for margin in ("{}->*", "*->{}"):
        assert sum(overall[margin.format(x)] for x in ("zero", "low", "positive")) == 247
    by_reading = facts[facts["cells"] == "zero->low"].set_index("reading")["value"]
    assert dict(by_reading) == {"abstract": 25, "results": 20}
    changed = facts[(facts["cells"] == "off_diagonal") & (facts["factor"] != "")]
    assert dict(changed.groupby("factor")["value"].sum()) == {"hr_status": 94, "relapse_type": 94}


def test_tables_of_ni():
    ni = load_study(study_folder("ni2025"))
    events = ni.adverse_events.set_index(["event", "severity"])["count"]
    assert len(events) == 32
    assert events["neutropenia", "grade 3-4"] == 6
    overall = ni.responses[ni.responses["factor"] == ""].set_index("category")["count"]
    assert overall[["CR", "PR", "SD", "PD"]].sum() == 64
    assert overall["orr"] == overall["CR"] + overall["PR"]
    assert overall["dcr"] == overall["orr"] + overall["SD"]
    os = ni.survival[(ni.survival["endpoint"] == "os") & (ni.survival["factor"] == "")].iloc[0]
    assert (os["patients"], os["events"], os["median"]) == (64, 31, 14.9)
    assert ni.status_counts() == {}


def test_digest_names_the_content(tmp_path):
    import shutil

    shutil.copytree(study_folder("shi2023"), tmp_path / "copy")
    first = load_study(tmp_path / "copy")
    assert first.digest == load_study(study_folder("shi2023")).digest
    file = tmp_path / "copy" / LEDGER
    file.write_text(file.read_text(encoding="utf-8").replace("0.0037", "0.0038"), encoding="utf-8")
    assert load_study(tmp_path / "copy").digest != first.digest


def test_tables_a_study_lacks_are_empty_frames():
    shi = load_study(study_folder("shi2023"))
    assert list(shi.responses.columns) == [column.name for column in TABLES["responses.csv"]]
    assert len(shi.adverse_events) == 0


def test_study_folder_takes_an_id_or_a_path(tmp_path):
    assert study_folder("ni2025") == published_folder() / "ni2025"
    assert study_folder(str(tmp_path)) == tmp_path
    with pytest.raises(BadInput, match=r"no such study folder.*ni2025, .*shi2023"):
        study_folder("shi2024")
    with pytest.raises(BadInput, match="no such study folder"):
        study_folder("../nothing")


def test_loading_is_light():
    code = (
        "import sys\n"
        "from her2bayes.evidence.printed.study import load_study, study_folder\n"
        "assert 'pandas' not in sys.modules\n"
        "load_study(study_folder('shi2023')).status_counts()\n"
        "print(sorted({'pymc', 'arviz', 'pytensor', 'ibis'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
