"""Patient files in: the documented examples are run, layouts, choice of rows, flow that adds up."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.evidence.patients.cohort import Cohort, exact, read_cohort, reclassified
from her2bayes.evidence.patients.maps import load_map, packaged_maps

README = (packaged_maps() / "README.md").read_text(encoding="utf-8")

PAIRS = """id,primary_ihc,primary_ish,primary_er,primary_pr,primary_date,\
recurrence_ihc,recurrence_ish,recurrence_date,recurrence_site
a,0,,90,10,2010-01-01,1+,,2013-05-01,liver
b,2+,negative,0,0,2011-02-03,3+,,2012-05-01,bone
c,2+,positive,<1,Negative,2011-02-03,0-1+,,2012-05-01,bone
d,1+ (focal),,,,2011-02-03,2+,,2012-05-01,
e,,,Negative,,2011-02-03,,,,
f,0,,5,,2011-02-03,2+,negative,2014-05-01,liver
"""

TCGA = """#Patient Identifier\tHER2 ihc score\tHER2 fish\tIHC-HER2\tER\tPR\tAge\tOS\tOS\tDFS\tDFS
#x\tx\tx\tx\tx\tx\tx\tx\tx\tx\tx
#STRING\tSTRING\tSTRING\tSTRING\tSTRING\tSTRING\tNUMBER\tSTRING\tNUMBER\tSTRING\tNUMBER
#1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1
PATIENT_ID\tHER2_IHC_SCORE\tHER2_FISH_STATUS\tIHC_HER2\t\
ER_STATUS_BY_IHC\tPR_STATUS_BY_IHC\tAGE\tOS_STATUS\tOS_MONTHS\tDFS_STATUS\tDFS_MONTHS
TCGA-1\t2+\tNegative\tEquivocal\tPositive\tPositive\t45\t0:LIVING\t12.5\t0:DiseaseFree\t12.5
TCGA-2\t[Not Available]\t[Not Available]\tNegative\tNegative\tNegative\t51\t\
DECEASED\t3\t1:Recurred/Progressed\t2
TCGA-3\t3+\t[Not Evaluated]\tPositive\tPositive\tIndeterminate\t50\tLIVING\t[Not Available]\t\t
TCGA-4\t0\t\tNegative\t[Not Evaluated]\tNegative\t70\t1:DECEASED\t0\t\t
TCGA-5\t2+\t[Not Available]\tEquivocal\tNegative\tNegative\t\t0:LIVING\t40\t0:DiseaseFree\t40
TCGA-6\t\t\tIndeterminate\tNegative\tNegative\t62\t0:LIVING\t40\t0:DiseaseFree\t40
"""

METABRIC_PATIENTS = """#Patient Identifier\tE\tS\tO\tM\tV
#1\t1\t1\t1\t1\t1
PATIENT_ID\tER_IHC\tHER2_SNP6\tOS_STATUS\tOS_MONTHS\tVITAL_STATUS
MB-0000\tPositve\tNEUTRAL\t0:LIVING\t140.5\tLiving
MB-0002\tNegative\tGAIN\t1:DECEASED\t84.6\tDied of Disease
MB-0005\t\tUNDEF\t1:DECEASED\t163.7\tDied of Other Causes
MB-9999\t\t\t\t\t
"""
METABRIC_SAMPLES = """PATIENT_ID\tSAMPLE_ID\tSAMPLE_TYPE\tHER2_STATUS\tER_STATUS\tPR_STATUS
MB-0000\tMB-0000\tPrimary\tNegative\tPositive\tNegative
MB-0002\tMB-0002\tPrimary\tPositive\tNegative\tNegative
MB-0005\tMB-0005\tPrimary\t\tPositive\tPositive
"""


def example(name: str, folder: Path) -> Path:
    """Write the map that the documentation prints."""
    text = re.search(rf"<!-- example: {name} -->\n```toml\n(.*?)```", README, flags=re.DOTALL)
    assert text, f"data/maps/README.md has no example {name}"
    path = folder / f"{name}.toml"
    path.write_text(text[1], encoding="utf-8")
    return path


def adds_up(cohort: Cohort) -> None:
    flow = cohort.flow[cohort.flow["stage"] != "notes"]
    for stage, lines in flow.groupby("stage"):
        assert lines["count"].sum() == lines["of"].iloc[0], stage
    assert flow.loc[flow["stage"] == "patients", "count"].sum() == len(cohort.patients)


def test_wide_file_as_documented(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS)
    cohort = read_cohort(example("wide", tmp_path), tmp_path)
    patients = cohort.patients.set_index("patient_id")
    assert patients["primary_reading"].to_dict() == {
        "a": "zero", "b": "low", "c": "positive", "d": "low", "e": "unknown", "f": "zero",
    }  # fmt: skip
    assert patients["recurrence_reading"].to_dict() == {
        "a": "low", "b": "positive", "c": "zero/low", "d": "low/positive", "e": "", "f": "low",
    }  # fmt: skip
    assert patients["pair"].sum() == 5
    assert patients["hr_status"].to_dict() == {
        "a": "positive", "b": "negative", "c": "negative", "d": "", "e": "", "f": "positive",
    }  # fmt: skip
    assert cohort.factors["site"] == ("bone", "liver")
    assert exact(cohort).sum() == 3
    adds_up(cohort)


def test_one_file_as_the_cohort_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS)
    mapped = example("wide", tmp_path)
    from_folder = read_cohort(mapped, tmp_path)
    frame = pd.read_csv(tmp_path / "pairs.csv", parse_dates=["primary_date", "recurrence_date"])
    frame.to_parquet(tmp_path / "other.parquet")
    from_parquet = read_cohort(mapped, tmp_path / "other.parquet")
    pd.testing.assert_frame_equal(from_folder.patients, from_parquet.patients)


def test_tcga_as_documented(tmp_path: Path) -> None:
    (tmp_path / "data_clinical_patient.txt").write_text(TCGA)
    cohort = read_cohort(example("tcga", tmp_path), tmp_path)
    patients = cohort.patients.set_index("patient_id")
    assert list(patients["primary_reading"]) == [
        "low", "zero/low", "positive", "zero", "low/positive", "unknown",
    ]  # fmt: skip
    assert list(patients["hr_status"]) == [
        "positive",
        "negative",
        "positive",
        "",
        *["negative"] * 2,
    ]
    assert list(patients["age"]) == ["<=50", ">50", "<=50", ">50", "", ">50"]
    assert list(patients["os_event"]) == [0, 1, 0, 1, 0, 0]
    assert np.isnan(patients["os_months"].iloc[2])
    assert not patients["pair"].any()
    assert cohort.flow.query("stage == 'endpoint os' and outcome == 'kept'")["count"].sum() == 5
    adds_up(cohort)


def test_tcga_with_the_columns_in_the_sample_file(tmp_path: Path) -> None:
    table = pd.read_csv(pd.io.common.StringIO(TCGA), sep="\t", comment="#", dtype=str)
    own = ["HER2_IHC_SCORE", "HER2_FISH_STATUS", "IHC_HER2", "ER_STATUS_BY_IHC", "PR_STATUS_BY_IHC"]
    samples = table[["PATIENT_ID", *own]].assign(
        SAMPLE_ID=table["PATIENT_ID"] + "-01", SAMPLE_TYPE="Primary"
    )
    metastasis = samples.tail(1).assign(
        SAMPLE_ID="TCGA-6-06", SAMPLE_TYPE="Metastasis", HER2_IHC_SCORE="0"
    )
    pd.concat([samples, metastasis]).to_csv(
        tmp_path / "data_clinical_sample.txt", sep="\t", index=False
    )
    table.drop(columns=own).to_csv(tmp_path / "data_clinical_patient.txt", sep="\t", index=False)
    path = example("tcga", tmp_path)
    text = path.read_text()
    text = text.replace('rows = "patient"', 'rows = "sample"').replace("[primary]", "[sample]")
    text = text.replace(
        'table = "data_clinical_patient.txt"',
        'table = "data_clinical_sample.txt"\npatients = "data_clinical_patient.txt"',
    )
    text = text.replace(
        'patient_id = "PATIENT_ID"',
        'patient_id = "PATIENT_ID"\nsample_id = "SAMPLE_ID"\nsample_type = "SAMPLE_TYPE"',
    )
    path.write_text(text)
    cohort = read_cohort(path, tmp_path)
    assert len(cohort.patients) == 6
    assert cohort.patients["pair"].sum() == 1
    assert cohort.patients["recurrence_reading"].iloc[-1] == "zero"
    assert list(cohort.patients["age"]) == ["<=50", ">50", "<=50", ">50", "", ">50"]
    adds_up(cohort)


def test_metabric_as_documented(tmp_path: Path) -> None:
    (tmp_path / "data_clinical_patient.txt").write_text(METABRIC_PATIENTS)
    (tmp_path / "data_clinical_sample.txt").write_text(METABRIC_SAMPLES)
    cohort = read_cohort(example("metabric", tmp_path), tmp_path)
    patients = cohort.patients.set_index("patient_id")
    assert list(patients["primary_reading"]) == ["negative", "positive", "unknown"]
    assert list(patients["er_ihc"]) == ["positive", "negative", ""]
    assert list(patients["dss_event"]) == [0, 1, 0]
    assert cohort.categories == ("negative", "positive")
    assert dict(cohort.notes) == {"patients file: patients without a row in the table": 1}
    adds_up(cohort)


def test_ultralow_as_documented(tmp_path: Path) -> None:
    text = PAIRS.replace("a,0,", "a,ultralow,").replace("c,2+,positive", "c,0 (ultralow),")
    (tmp_path / "pairs.csv").write_text(text)
    cohort = read_cohort(example("ultralow", tmp_path), tmp_path)
    readings = cohort.patients.set_index("patient_id")["primary_reading"]
    assert readings["a"] == readings["c"] == "ultralow"
    assert cohort.patients.set_index("patient_id")["recurrence_reading"]["c"] == "zero/ultralow/low"
    assert "hr_status" not in cohort.factors


SAMPLES = """p,s,type,t,ihc,ish,er,site
x,x1,Primary,10,0,,90,breast
x,x3,Metastasis,30,1+,,90,liver
x,x2,Metastasis,20,3+,,90,bone
y,y1,Primary,5,2+,negative,0,breast
y,y2,Local Recurrence,9,0,,0,breast
z,z1,Metastasis,5,0,,0,lung
w,w2,Primary,5,1+,,0,breast
w,w1,Primary,4,0,,0,breast
v,v1,Normal,1,,,,breast
u,u2,Metastasis,7,1+,,,bone
u,u1,Metastasis,7,0,,,liver
u,u0,Primary,1,0,,,breast
"""
SAMPLE_MAP = """
schema = 1
id = "samples"
rows = "sample"
[files]
table = "samples.csv"
[columns]
patient_id = "p"
sample_id = "s"
sample_type = "type"
[sample]
ihc = "ihc"
ish = "ish"
er = "er"
time = "t"
[factors.site]
column = "site"
"""


def samples(
    folder: Path, table: str = SAMPLES, extra: str = "", mapped: str = SAMPLE_MAP
) -> Cohort:
    (folder / "samples.csv").write_text(table)
    (folder / "map.toml").write_text(mapped + extra)
    return read_cohort(folder / "map.toml", folder)


def test_long_file_earliest_recurrence(tmp_path: Path) -> None:
    cohort = samples(tmp_path)
    patients = cohort.patients.set_index("patient_id")
    assert patients.loc["x", "recurrence_reading"] == "positive"
    assert patients.loc["x", "site"] == "bone"
    assert patients.loc["u", "recurrence_reading"] == "zero"  # equal times: first sample id
    assert patients.loc["w", "primary_reading"] == "zero"
    assert patients.loc["z", ["primary_sampled", "pair"]].tolist() == [False, False]
    assert cohort.notes == {"several samples at one time: the first sample id is taken": 1}
    rows = cohort.flow[cohort.flow["stage"] == "rows"].set_index("rule")["count"].to_dict()
    assert rows == {
        "recurrence sample": 4,
        "primary sample": 4,
        "another recurrence sample, not the earliest": 2,
        "another primary sample of the patient": 1,
        "sample is neither primary nor recurrence": 1,
    }
    adds_up(cohort)


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    header, *lines = SAMPLES.splitlines()
    first = samples(tmp_path)
    second = samples(tmp_path, "\n".join([header, *reversed(lines)]) + "\n")
    pd.testing.assert_frame_equal(first.patients, second.patients)


def test_latest_recurrence_and_local_recurrences_left_out(tmp_path: Path) -> None:
    extra = '[rules]\nchoose = "latest"\n[values.sample_type]\n"Local Recurrence" = "other"\n'
    patients = samples(tmp_path, extra=extra).patients.set_index("patient_id")
    assert patients.loc["x", "recurrence_reading"] == "low"
    assert not patients.loc["y", "pair"]


def test_keep_and_derived_and_cut(tmp_path: Path) -> None:
    extra = """
[keep]
type = ["Primary", "Metastasis"]
[derived]
none = ["t", "t"]
twice = ["t", "none"]
[factors.time]
column = "twice"
cut = [5, 10]
labels = ["early", "middle", "late"]
[endpoints.os]
time = "t"
event = "t"
unit = "years"
events = ["10", "20", "30"]
censored = ["1", "4", "5", "7", "9"]
"""
    cohort = samples(tmp_path, extra=extra)
    patients = cohort.patients.set_index("patient_id")
    assert not patients.loc["y", "pair"]
    assert patients.loc["x", ["time", "os_months", "os_event"]].tolist() == ["late", 240, 1]
    assert patients.loc["z", "time"] == "early"
    assert cohort.factors["time"] == ("early", "middle", "late")
    adds_up(cohort)


def test_primary_reading_beside_each_sample(tmp_path: Path) -> None:
    table = SAMPLES.replace("p,s,type", "pihc,p,s,type").replace("\n", "\n1+,")[:-3]
    mapped = SAMPLE_MAP.replace("[sample]", '[primary]\nihc = "pihc"\n[sample]')
    cohort = samples(tmp_path, table, mapped=mapped)
    patients = cohort.patients.set_index("patient_id")
    assert set(patients["primary_reading"]) == {"low"}
    assert patients.loc["z", "pair"]
    assert patients["pair"].sum() == 4
    adds_up(cohort)


def test_reclassified_keeps_the_patients(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS)
    cohort = read_cohort(example("wide", tmp_path), tmp_path)
    other = reclassified(cohort, cohort.scheme.counting("0-1", "zero"))
    assert other.patients.set_index("patient_id").loc["c", "recurrence_reading"] == "zero"
    assert other.patients["pair"].equals(cohort.patients["pair"])
    adds_up(other)


def test_packaged_maps_load() -> None:
    for path in packaged_maps().glob("*.toml"):
        assert load_map(path).id == path.stem
