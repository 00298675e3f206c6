"""The survival script: bad input writes nothing; a small cohort with every documented file."""

from __future__ import annotations

import csv
import re
import sys
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from documents import text_of
from her2bayes.cli import app
from her2bayes.estimand import parse
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS
from her2bayes.evidence.printed.study import published_folder
from her2bayes.evidence.simulate import cohort
from her2bayes.inference.fit import Specification
from her2bayes.inference.predictive import RARE
from her2bayes.inference.store import Store

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fit_survival.py"
COLUMNS = ("--time", "months", "--event", "event")


def fit(*arguments: object) -> Result:
    """Run the script in this process: its imports and compiled models are paid for once."""
    spec = spec_from_file_location("fit_survival", SCRIPT)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["fit_survival"] = module
    spec.loader.exec_module(module)
    return CliRunner().invoke(app(module.main), [str(a) for a in arguments])


def small_cohort(folder: Path, patients: int = 40) -> Path:
    """Three HER2 classes in two receptor groups, delayed entry, a hostile column title."""
    rng = np.random.default_rng(5)
    edges = [0, 12, 36, 120]
    groups = {(her2, hr): patients for her2 in ("zero", "low", "positive") for hr in ("pos", "neg")}
    ratio = {"zero": 1.4, "low": 1.0, "positive": 0.5}
    hazard = {g: [0.01 * ratio[g[0]], 0.02 * ratio[g[0]], 0.01 * ratio[g[0]]] for g in groups}
    table = cohort(rng, groups, ["her2", "HR <b>"], edges, hazard, entry=(0, 10))
    path = folder / "patients.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "her"), "there is no column 'her'"),
        (("--by", "her2=zero,high"), "no row has the level 'high'"),
        (("--by", "her2", "--by", "her2"), "--by cannot be read"),
        (("--model", "cox"), "no such model"),
        (("--cuts", "6,x"), "--cuts cannot be read"),
        (("--by", "her2", "--reference", "her2=medium"), "no such reference level"),
        (("--by", "her2", "--nested", "her2=site"), "nesting names no factor"),
        (("--times", "12,-3"), "months above 0"),
        (("--prior-median", "24"), "median, lower, upper"),
        (("--time-unit", "fortnights"), "unknown time unit"),
        (("--nonpositive", "keep"), "--nonpositive cannot be read"),
        (("--landmarks", "absent.csv"), "no such file"),
        (("--map", "nomap"), "no such map"),
        (("--robust-weight", "0.5"), "needs patients of another study"),
        (("--external", "absent.csv"), "no such file"),
        (("--external", "{printed}"), "printed numbers carry no weight of their own"),
        (("--external", "{patients}", "--by", "her2", "--robust-weight", "2"), "0 to 1"),
        (("--external", "{patients}", "--by", "her2=zero,low", "--frailty", "HR <b>"), "frailties"),
        (("--external", "{others}", "--by", "her2"), "no external patient has a level of 'her2'"),
    ],
)
def test_bad_input_writes_nothing(arguments: tuple[str, ...], message: str, tmp_path: Path):
    path = small_cohort(tmp_path)
    printed = published_folder() / "ni2025" / "external.csv"
    others = tmp_path / "others.csv"
    others.write_text(path.read_text().replace("zero", "I").replace("low", "II")
                      .replace("positive", "III"))  # fmt: skip
    named = {"printed": printed, "patients": path, "others": others}
    arguments = tuple(text.format(**named) if "{" in text else text for text in arguments)
    done = fit("--cohort", path, *COLUMNS, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_cohort_end_to_end(tmp_path: Path):
    path = small_cohort(tmp_path)
    arguments = (
        "--cohort", path, *COLUMNS, "--entry", "entry", "--by", "her2=zero,low,positive",
        "--by", "HR <b>", "--reference", "her2=low", "--cuts", "10", "--times", "12,24,200",
        "--prior-median", "30,6,150", "--quick", "--out", tmp_path / "out",
    )  # fmt: skip
    done = fit(*arguments)
    assert done.exit_code in (0, 3), done.stderr
    out = tmp_path / "out"
    with (out / "estimates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == EVIDENCE_COLUMNS
    table = {row["estimand"]: row for row in rows}
    assert all(str(parse(name)) == name for name in table)
    assert {row["evidence_kind"] for row in rows} == {"patients"}

    ratio = table["hazard_ratio[months ; her2: positive vs low]"]
    assert 0.2 < float(ratio["posterior_median"]) < 1.1
    assert float(ratio["reproduced"]) > 0
    assert ratio["method"].startswith("Cox, Efron ties")
    assert "P(HR < 1)" in ratio["note"]
    within = table["hazard_ratio[months | hr_b=neg ; her2: positive vs low]"]
    assert float(within["posterior_median"]) > 0
    late = table["survival[months | her2=low @ 200 months]"]
    assert "extrapolated" in late["note"]
    ordering = [name for name in table if name.startswith("ordering[")]
    prior = float(table[ordering[0]]["prior_probability"])
    assert prior == pytest.approx(1 / 6, abs=0.04)
    assert any(name.startswith("not_reached[") for name in table)
    assert "horizon" in table[next(n for n in table if n.startswith("rmst["))]["note"]

    classical = pd.read_csv(out / "classical.csv")
    assert {"log-rank", "Cox, Breslow ties, Wald interval"} <= set(classical["method"])
    checks = pd.read_csv(out / "checks.csv")
    assert checks["tail"].between(RARE, 1).all()  # the patients are drawn from such a model
    assert {p.name for p in (out / "figures").iterdir()} >= {
        "survival-her2-2.svg",
        "hazard-her2.svg",
        "forest-her2-zero-2.svg",
    }
    page = (out / "report.html").read_text()
    assert "HR <b>" not in page  # titles from the file are escaped or renamed
    assert "Quick run" in page

    again = fit(*arguments)
    assert again.exit_code == done.exit_code
    assert (out / "estimates.csv").read_text().count("\n") == len(rows) + 1
    assert len(list((out / "fits").glob("survival-*.nc"))) <= 2

    with pytest.MonkeyPatch.context() as patch:  # the same fit, which a shared report never keeps
        kept, fits = Store(out / "fits"), Specification.fit
        patch.setattr(Specification, "fit", lambda *a: fits(*a[:2], kept))
        check_report_to_share(arguments[:-1], tmp_path / "shared")


def check_report_to_share(arguments: tuple[object, ...], out: Path) -> None:
    """Counts below 30 hidden; nothing else but what the model says."""
    done = fit(*arguments, out, "--suppress-below", "30")
    assert done.exit_code in (0, 3), done.stderr
    files = {str(p.relative_to(out)): text_of(p) for p in out.rglob("*") if p.is_file()}
    assert {"estimates.csv", "report.html", "report.md"} <= set(files)
    assert not {n for n in files if n.startswith(("fits", "classical", "checks"))}
    open_page = (out.parent / "out" / "report.md").read_text("utf-8")
    for words in ("Cox, Efron", " vs 1", "median follow-up by reverse", "Classical methods"):
        assert not [name for name, text in files.items() if words in text]
    assert "Cox, Efron" in open_page
    source = sha256((out.parent / "patients.csv").read_bytes()).hexdigest()
    assert not [name for name, text in files.items() if source[:16] in text]
    rows = pd.read_csv(out / "estimates.csv")
    assert rows["reproduced"].isna().all()
    assert set(rows["fit_id"].dropna()) == {"shared-1"}
    counts = re.findall(r"^\| her2 \| (\w+) \| (\S+) \| (\S+) \|", files["report.md"], re.M)
    assert len(counts) == 3
    for _, patients, events in counts:
        assert all(n in ("&lt;30", "withheld") or int(n) >= 30 for n in (patients, events))
    again = fit(*arguments, out, "--suppress-below", "5")
    assert again.exit_code == 2
    assert "not empty" in again.stderr


@pytest.mark.slow
def test_a_cohort_without_events_is_no_failed_chain(tmp_path: Path):
    """Twelve patients, nobody dies: the median is not reached (P near 1), and exit code 0."""
    path = tmp_path / "alive.csv"
    rows = "".join(f"{months},0,{'ab'[months % 2]}\n" for months in range(5, 17))
    path.write_text(f"months,event,g\n{rows}")
    done = fit("--cohort", path, *COLUMNS, "--by", "g", "--quick", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "median[months] not reached" in done.stdout
    with (tmp_path / "out" / "estimates.csv").open() as file:
        table = {row["estimand"]: row for row in csv.DictReader(file)}
    assert {row["convergence"] for row in table.values() if row["fit_id"]} == {"converged"}
    never = table["not_reached[months @ 16 months]"]
    assert float(never["posterior_probability"]) > 0.97
    assert table["median[months]"]["posterior_median"] == ""


@pytest.mark.slow
def test_nobody_is_followed_before_the_first_entry(tmp_path: Path):
    """Scale of age: the posterior is near Kaplan–Meier given alive at 40, not near the prior."""
    rng = np.random.default_rng(3)
    entry = 480 + rng.uniform(0, 360, 300)
    entry[0] = 480
    died = entry + rng.exponential(250, 300)
    last = entry + rng.uniform(60, 400, 300)
    table = pd.DataFrame(
        {"entry": entry, "months": np.minimum(died, last), "event": (died <= last).astype(int)}
    )
    path = tmp_path / "ages.csv"
    table.to_csv(path, index=False)
    arguments = ("--cohort", path, *COLUMNS, "--entry", "entry", "--longest", "1500")
    done = fit(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "given alive and event-free at the first entry, 480 months" in done.stdout
    rows = pd.read_csv(tmp_path / "out" / "estimates.csv").set_index("estimand")
    median = rows.loc["median[months]"]
    # constant hazard 1/250 from 480 on: median 480 + 250 log 2
    assert median["posterior_lower"] < 480 + 250 * np.log(2) < median["posterior_upper"]
    assert abs(median["posterior_median"] - median["reproduced"]) < 40
    assert "given alive" in median["note"]
    assert "survival[months @ 600 months]" in rows.index
    assert not any("@ 120 months" in name for name in rows.index)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Curves begin at the first entry, 480 months" in page

    wrong = fit(*arguments, "--times", "240,600", "--out", tmp_path / "wrong")
    assert wrong.exit_code == 2
    assert "not after the first entry" in wrong.stderr
    assert not (tmp_path / "wrong").exists()
