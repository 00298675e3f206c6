"""A study becomes a folder of reports: whole or not at all, and the same twice."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS, SCHEMA_VERSION
from her2bayes.evidence.printed.study import Study, load_studies
from her2bayes.inference.sampling import Settings
from her2bayes.page.section import FitCard, Section
from her2bayes.reproduce import build
from her2bayes.reproduce.build import write_index
from her2bayes.reproduce.parallel import build_studies

FILES = {"monte_carlo.csv", "evidence.csv", "findings.csv", "report.html", "report.md", "run.json"}
FILES |= {
    f"tables/cohort-{n}.tex"
    for n in (
        "table-1-characteristics-by-her2-class",
        "her2-status-as-printed",
        "printed-numbers-in-the-ledger",
    )
}
FILES |= {"report.docx", "tables.typ", "tables/evidence.tex"}


def written(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@dataclass
class Result:
    """What a family returns."""

    estimates: pd.DataFrame


@dataclass
class StubFamily:
    """A family that fits nothing."""

    estimates: pd.DataFrame
    name: str = "distribution"
    label: str = "Shares"
    missing: str = "nothing is printed"
    present: bool = True
    warnings: tuple[str, ...] = ()

    def applies(self, study: Study) -> bool:
        return self.present

    def run(self, study: Study, store: object, sampling: object, say: object) -> Result:
        return Result(self.estimates)

    def section(self, result: Result) -> Section:
        fit = FitCard(fit_id="0123456789ab", title="shares", convergence="converged",
                      warnings=self.warnings)  # fmt: skip
        return Section("distribution", "Shares", fits=(fit,))


@pytest.fixture
def family(estimates: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> StubFamily:
    stub = StubFamily(estimates)
    monkeypatch.setattr(build, "FAMILIES", (stub,))
    return stub


def built(study: Study, out: Path, settings: Settings = Settings()) -> build.Outcome:  # noqa: B008
    heard: list[tuple[str, str]] = []
    outcomes = build_studies([study], out, settings, lambda *message: heard.append(message))
    assert heard[-1] == (study.id, build.WRITTEN)
    return outcomes[0]


def test_all_files_and_a_record_that_vouches_for_them(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    outcome = built(study, tmp_path / "out")
    folder = tmp_path / "out" / "hostile"
    assert outcome.folder == folder
    assert written(folder) == FILES
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["study"]["digest"] == study.digest
    assert set(record["files"]) == FILES - {"run.json"}
    for name, digest in record["files"].items():
        assert sha256((folder / name).read_bytes()).hexdigest() == digest
    with (folder / "evidence.csv").open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == EVIDENCE_COLUMNS
    header = (folder / "findings.csv").read_text("utf-8").splitlines()[0]
    assert header == "finding_id,claim_ids,kind,sentence"


def test_the_same_study_gives_the_same_bytes(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    contents = []
    for _ in range(2):
        folder = built(study, tmp_path / "out").folder
        contents.append({name: (folder / name).read_bytes() for name in FILES})
        (folder / "run.json").unlink()  # else the second build would find nothing to do
    assert contents[0] == contents[1]


def test_a_failed_fit_is_named_everywhere(study: Study, family: StubFamily, tmp_path: Path) -> None:
    family.estimates = family.estimates.assign(convergence="not converged: R-hat 1.03")
    outcome = built(study, tmp_path)
    assert outcome.failed
    assert "R-hat 1.03" in outcome.failed[0]
    assert "Not converged" in (outcome.folder / "report.html").read_text("utf-8")
    assert "not converged: R-hat 1.03" in (outcome.folder / "evidence.csv").read_text("utf-8")
    write_index(tmp_path)
    assert "Not converged" in (tmp_path / "index.html").read_text("utf-8")


def test_a_rare_predictive_check_is_a_finding(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    before = pd.read_csv(built(study, tmp_path / "plain").folder / "findings.csv")
    family.warnings = ("Shares (fit 0123456789ab): rare are <these>.",)
    folder = built(study, tmp_path / "rare").folder
    after = pd.read_csv(folder / "findings.csv")
    assert len(after) == len(before) + 1
    assert after.iloc[-1]["kind"] == "predictive_check"
    text = (folder / "report.html").read_text("utf-8")
    assert text.count("rare are &lt;these&gt;.") == 2  # finding and card
    assert "<these>" not in text


def test_a_quick_run_says_so_on_the_page_and_in_its_rows(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    outcome = built(study, tmp_path, Settings(seed=1, quick=True))
    assert "Quick run" in (outcome.folder / "report.html").read_text("utf-8")
    rows = pd.read_csv(outcome.folder / "evidence.csv", keep_default_na=False)
    assert rows.loc[rows["fit_id"] != "", "note"].str.contains("quick run").all()
    assert outcome.record["sampling"]["draws"] < Settings().sampling.draws
    assert outcome.record["seed"] == 1


def test_an_analysis_the_paper_does_not_allow_is_named_as_absent(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    family.present = False
    outcome = built(study, tmp_path)
    page = (outcome.folder / "report.html").read_text("utf-8")
    assert "Analyses this paper does not allow" in page
    assert "Shares: nothing is printed." in page
    rows = pd.read_csv(outcome.folder / "evidence.csv")
    assert rows["posterior_median"].isna().all()


def test_a_folder_that_cannot_be_written_is_bad_input(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(BadInput, match="cannot be written"):
        built(study, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file where the folder should be"


def test_an_interrupted_write_leaves_the_old_files(
    study: Study, family: StubFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(study, tmp_path).folder
    before = {name: (folder / name).read_bytes() for name in FILES}

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("her2bayes.files.os.fsync", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        built(study, tmp_path, Settings(seed=2))
    assert written(folder) == FILES
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_report_does_not_land_among_its_inputs(study: Study, family: StubFamily) -> None:
    with pytest.raises(BadInput, match="among its inputs"):
        built(study, study.folder.parent)


def test_the_index_lists_what_the_folder_holds(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    built(study, tmp_path)
    (tmp_path / "other").mkdir()
    text = write_index(tmp_path).read_text("utf-8")
    assert text.count('class="card"') == 1
    assert "hostile/report.html" in text


def test_the_index_notices_files_that_are_not_those_of_the_run(
    study: Study, family: StubFamily, tmp_path: Path
) -> None:
    folder = built(study, tmp_path).folder
    assert "Written again" not in write_index(tmp_path).read_text("utf-8")
    (folder / "evidence.csv").write_text("claim_id\n", encoding="utf-8")
    text = write_index(tmp_path).read_text("utf-8")
    assert "Written again since this report: evidence.csv." in text


def test_all_faults_of_all_studies_together(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput) as caught:
        load_studies([str(empty), str(tmp_path / "missing"), "../etc"])
    assert len(caught.value.faults) >= 3


def test_two_studies_of_one_id_are_refused(study: Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in study.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadInput, match="two studies have the same id"):
        load_studies([str(study.folder), str(copy)])
