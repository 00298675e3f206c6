"""The scripts for tables of counts: bad input writes nothing; small tables with every file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from her2bayes.estimand import parse
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS

Call = Callable[..., Result]


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def responses(folder: Path) -> Path:
    return written(
        folder, "responses.csv", "response,factor,level,responders,patients",
        "orr,,,23,64", "orr,prior_trop2,yes,0,10", "orr,prior_trop2,no,23,54",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--typical", "0"), "--typical is no rate"),
        (("--exchangeable", "1.5"), "--exchangeable is no probability"),
        (("--weight", "0.5"), "--weight without --external"),
        (("--external", "absent.csv", "--weight", "0.5"), "file is missing"),
    ],
)
def test_bad_options_write_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path, call: Call
):
    path = responses(tmp_path)
    done = call("fit_response", "--table", path, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_weight_must_be_given_and_all_faults_come_together(tmp_path: Path, call: Call):
    path = written(tmp_path, "bad.csv", "factor,level,responders,patients", ",,65,64", "arm,a,1,2")
    outside = written(tmp_path, "outside.csv", "study,median,patients", "DB-04,8.5,40")
    done = call("fit_response", "--table", path, "--external", outside, "--out", tmp_path / "out")
    assert done.exit_code == 2
    text = " ".join(done.stderr.split())
    assert "--weight, which has no default" in text
    assert "row 2, column 'responders': more responders than patients" in text
    assert "a median carries no weight of its own" in text
    assert not (tmp_path / "out").exists()


def test_severe_above_any_is_refused(tmp_path: Path, call: Call):
    path = written(
        tmp_path, "events.csv", "event,severity,count,patients",
        "nausea,any,3,64", "nausea,grade 3-4,5,64",
    )  # fmt: skip
    done = call("fit_adverse_events", "--table", path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "more patients with grade 3-4 than with any severity" in " ".join(done.stderr.split())
    good = written(tmp_path, "good.csv", "event,severity,count,patients", "nausea,any,3,50")
    other = written(tmp_path, "other.csv", "event,severity,count,patients", "rash,any,3,50")
    done = call("fit_adverse_events", "--table", good, "--external", other, "--out",
                tmp_path / "out")  # fmt: skip
    assert done.exit_code == 2
    assert "no event of the external table" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_responses_with_evidence_from_outside(tmp_path: Path, call: Call):
    outside = written(
        tmp_path, "outside.csv", "response,study,responders,patients", "orr,DB-04,20,40"
    )
    out = tmp_path / "out"
    done = call(
        "fit_response", "--table", responses(tmp_path), "--external", outside, "--weight", "0.3",
        "--threshold", "40", "--quick", "--out", out,
    )  # fmt: skip
    assert done.exit_code in (0, 3), done.stderr
    table = rows(out / "estimates.csv")
    assert tuple(table[0]) == EVIDENCE_COLUMNS
    found = {(row["estimand"], row["reading"]): row for row in table}
    assert all(str(parse(name)) == name for name, _ in found)
    never = found["response_rate[orr | prior_trop2=yes]", ""]
    assert 0 < float(never["posterior_median"]) < 15
    assert float(never["reproduced"]) == 0
    robust = found["response_rate[orr]", "borrowing_robust_map_0.3"]
    assert "P(rate < 40 %)" in robust["note"]
    assert float(robust["posterior_median"]) == pytest.approx(36.9, abs=0.3)
    full = found["response_rate[orr]", "borrowing_full"]
    assert float(full["posterior_median"]) == pytest.approx(41.46, abs=0.05)  # Beta(44, 62)
    characteristics = rows(out / "operating_characteristics.csv")
    assert {row["response"] for row in characteristics} == {"orr"}
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"figure-borrowing-orr-1.svg", "figure-tipping-orr-2.svg"} <= names
    assert "Quick run" in (out / "report.html").read_text()


@pytest.mark.slow
def test_adverse_events_of_one_and_of_two_arms(tmp_path: Path, call: Call):
    lines = [
        f"{arm},{event},{system},{severity},{number},50"
        for arm, counts in (("control", ("9", "1", "4")), ("new", ("30", "2", "5")))
        for (event, system, severity), number in zip(
            (("nausea", "gut", "any"), ("nausea", "gut", "grade 3-4"), ("rash", "skin", "any")),
            counts,
            strict=True,
        )
    ]
    head = "arm,event,body_system,severity,count,patients"
    two = written(tmp_path, "two.csv", head, *lines)
    done = call("fit_adverse_events", "--table", two, "--quick", "--out", tmp_path / "two")
    assert done.exit_code in (0, 3), done.stderr
    differences = {
        (r["event"], r["severity"]): r for r in rows(tmp_path / "two" / "differences.csv")
    }
    nausea, rash = differences["nausea", "any"], differences["rash", "any"]
    assert float(nausea["no_difference"]) < 0.2 < float(rash["no_difference"])
    assert float(nausea["more_in_treated"]) > 0.8

    one = written(
        tmp_path, "one.csv", "event,severity,count,patients",
        "any,any,40,50", "nausea,any,30,50", "nausea,grade 3-4,0,50", "rash,any,5,50",
    )  # fmt: skip
    other = written(tmp_path, "other.csv", "event,severity,count,patients", "Nausea,any,20,60")
    done = call(
        "fit_adverse_events", "--table", one, "--external", other, "--quick",
        "--out", tmp_path / "one",
    )  # fmt: skip
    assert done.exit_code in (0, 3), done.stderr
    found = {row["estimand"]: row for row in rows(tmp_path / "one" / "estimates.csv")}
    (compared,) = rows(tmp_path / "one" / "external.csv")
    # R 4.2: integrate(function(x) dbeta(x, 31, 21) * pbeta(x, 21, 41), 0, 1)
    assert float(compared["probability_higher"]) == pytest.approx(0.9973136, abs=1e-4)
    assert float(compared["probability_higher_shrunken"]) > 0.9
    severe = found["event_rate[nausea | severity=grade 3-4]"]
    assert 0 < float(severe["posterior_median"]) < 10
    assert "event_rate[rash | severity=grade 3-4]" not in found  # not printed, not zero
    assert float(found["event_rate[any | severity=any]"]["posterior_median"]) == pytest.approx(
        79.2, abs=0.5
    )


def test_tables_with_nothing_but_any_event(tmp_path: Path, call: Call):
    """A registry's trial: nobody had an event; rates, their difference and exact tests."""
    head = "event,severity,count,patients"
    two = written(tmp_path, "two.csv", f"{head},arm", "any,any,0,18,arm 1", "any,any,0,17,arm 2")
    done = call("fit_adverse_events", "--table", two, "--quick", "--out", tmp_path / "two")
    assert done.exit_code == 0, done.stderr
    assert "fitting" not in done.stderr
    (gap,) = rows(tmp_path / "two" / "differences.csv")
    assert (gap["fisher_p"], gap["barnard_p"], gap["boschloo_p"]) == ("1", "1", "1")
    assert gap["no_difference"] == ""
    page = (tmp_path / "two" / "report.html").read_text()
    assert "Any event at all" in page
    assert "Boschloo" in page

    one = written(tmp_path, "one.csv", head, "any,any,3,18", "any,serious,1,18")
    done = call("fit_adverse_events", "--table", one, "--quick", "--out", tmp_path / "one")
    assert done.exit_code == 0, done.stderr
    found = {row["estimand"]: row for row in rows(tmp_path / "one" / "estimates.csv")}
    # Beta(1 + 3, 1 + 15), R 4.2.2: qbeta(0.5, 4, 16)
    assert float(found["event_rate[any | severity=any]"]["posterior_median"]) == pytest.approx(
        18.99, abs=0.01
    )
    assert "event_rate[any | severity=serious]" in found


def test_levels_that_exceed_the_total_are_refused(tmp_path: Path, call: Call):
    table = written(
        tmp_path, "t.csv", "factor,level,responders,patients", ",,6,31", "site,a,4,10",
        "site,b,5,21",
    )  # fmt: skip
    done = call("fit_response", "--table", table, "--quick", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "9 responders of 31 patients against 6 of 31" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_level_alone_is_told_with_the_patients_left_out(tmp_path: Path, call: Call):
    table = written(
        tmp_path, "t.csv", "factor,level,responders,patients", ",,6,31", "gene,altered,1,6"
    )
    done = call("fit_response", "--table", table, "--quick", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("gene: 25 patients have no known level")
    found = {row["estimand"]: row for row in rows(tmp_path / "out" / "estimates.csv")}
    # R 4.2.2: qbeta(0.975, 2, 6)
    altered = found["response_rate[response | gene=altered]"]
    assert float(altered["posterior_upper"]) == pytest.approx(57.87, abs=0.01)
    assert not any("difference" in name for name in found)
