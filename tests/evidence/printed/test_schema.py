"""The closed lists of the evidence, and the formats documented as they are."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from pathlib import Path

import pytest

from her2bayes.evidence.printed import schema
from her2bayes.evidence.printed.design import read_design
from her2bayes.evidence.printed.schema import TABLES
from her2bayes.evidence.printed.study import load_study, published_folder, skeleton_folder
from her2bayes.evidence.printed.tables import CHAINS, ENTRIES, READINGS
from her2bayes.evidence.printed.tables import RECONSTRUCTION as FILE
from her2bayes.evidence.printed.vocabulary import Vocabulary, read_estimand

README = (Path(__file__).resolve().parents[3] / "data" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)(?: ([\w.]+))?\n(.*?)```", README, flags=re.DOTALL)


def test_evidence_columns_are_those_of_the_report():
    assert len(schema.EVIDENCE_COLUMNS) == len(set(schema.EVIDENCE_COLUMNS)) == 33
    assert schema.EVIDENCE_COLUMNS[:3] == ("claim_id", "study", "locator")
    assert schema.EVIDENCE_COLUMNS[-3:] == (
        "published_relation",
        "published_text",
        "evidence_kind",
    )
    assert schema.VERDICTS[0] == "reproduces"
    assert len(schema.VERDICTS) == 6
    assert len(schema.EVIDENCE_KINDS) == 5


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented(name):
    section = README.split(f"\n### {name}\n")[1].split("\n### ")[0].split("| statistic | value")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", section, flags=re.MULTILINE)
    columns = {column.name: column for column in TABLES[name]}
    assert [column for column, _, _ in documented] == list(columns)
    for column, content, meaning in documented:
        assert ("required" in content) == columns[column].required
        listed = set(re.findall(r"`(\w+)`", meaning))
        assert listed == set(columns[column].allowed) or column != "statistic"
        assert meaning == columns[column].meaning or listed


def test_design_of_the_readme_is_that_of_the_skeleton():
    (written,) = (
        tomllib.loads(text) for language, name, text in BLOCKS if language == "toml" and not name
    )
    whole = tomllib.loads((skeleton_folder() / "study.toml").read_text(encoding="utf-8"))
    for name, entry in written.items():
        if isinstance(entry, dict):
            assert entry.items() <= whole[name].items()
        else:
            assert entry == whole[name]


def test_reconstruction_of_the_readme_is_that_of_the_skeleton():
    (written,) = (text for _, name, text in BLOCKS if name == FILE)
    whole = tomllib.loads((skeleton_folder() / FILE).read_text(encoding="utf-8"))
    assert tomllib.loads(written) == whole
    section = README.split(f"### {FILE}")[1].split("## Your own")[0]
    for name in (
        *READINGS,
        *CHAINS,
        *ENTRIES,
        *(v for values in READINGS.values() for v in values),
    ):
        assert f"`{name}`" in section or f"[{name}]" in section, name


CSV_BLOCKS = [(name, text) for language, name, text in BLOCKS if language == "csv"]


@pytest.mark.parametrize(("name", "text"), CSV_BLOCKS)
def test_examples_of_the_readme_are_rows_of_the_skeleton(name, text):
    lines = (skeleton_folder() / name).read_text(encoding="utf-8").splitlines()
    skeleton = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows
    for row in rows:
        found = [r for r in skeleton if all(r[column] == cell for column, cell in row.items())]
        assert len(found) == 1, row


def test_every_file_has_an_example():
    assert {name for name, _ in CSV_BLOCKS} == set(TABLES)


def test_estimands_of_the_readme_are_understood():
    (listed,) = (text for language, _, text in BLOCKS if language == "estimands")
    design, faults = read_design(skeleton_folder())
    assert design is not None
    assert not faults
    words = Vocabulary(design, ("nausea",), ("any", "grade 3-4"))
    estimands = re.findall(r"\w+\[[^\]]*\]", listed)
    assert len(estimands) > 20
    for text in estimands:
        estimand, faults = read_estimand(text, words)
        assert not faults, text
        assert str(estimand) == text
    explained = {text.partition("[")[0] for text in estimands}
    used = {
        text.partition("[")[0]
        for folder in published_folder().iterdir()
        for text in load_study(folder).ledger["estimand"]
    }
    assert used <= explained


def test_commands_of_the_readme_are_scripts():
    scripts = Path(__file__).resolve().parents[3] / "scripts"
    assert (scripts / "new_study.py").exists()
    assert set(re.findall(r"bash scripts/run (\w+)", README)) == {"new_study", "audit", "studies"}
