"""Digitised curves: every input format reads alike, every fault is named, all faults together."""

import numpy as np
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.digitised import read_digitised

POINTS = [(0, 1.0), (6, 0.8), (12, 0.6), (24, 0.5)]
RISK = "arm,time,n_at_risk\na,0,40\na,12,20\nb,0,30\nb,12,12\n"


@pytest.fixture
def put(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def rows(points=POINTS, head="time,survival"):
    return head + "\n" + "".join(f"{t},{s}\n" for t, s in points)


def check(arms):
    assert list(arms) == ["a", "b"]
    for arm in arms.values():
        np.testing.assert_allclose(arm.time, [t for t, _ in POINTS])
        np.testing.assert_allclose(arm.survival, [s for _, s in POINTS])
    assert arms["a"].at_risk.tolist() == [40, 20]


def test_one_file_an_arm(put):
    files = {"a": put("one.csv", rows()), "b": put("two.csv", rows())}
    arms = read_digitised(files, put("risk.csv", RISK), {"a": 18})
    check(arms)
    assert (arms["a"].events, arms["b"].events) == (18, None)


def test_arms_in_a_column(put):
    text = "arm,time,survival\n" + "".join(f"{a},{t},{s}\n" for a in "ab" for t, s in POINTS)
    check(read_digitised({"": put("long.csv", text)}, put("risk.csv", RISK)))


def test_arms_side_by_side(put):
    text = "time,a,b\n" + "".join(f"{t},{s},{s}\n" for t, s in POINTS)
    check(read_digitised({"": put("wide.csv", text)}, put("risk.csv", RISK)))


def test_webplotdigitizer_export(put):
    text = "a,,b,\nX,Y,X,Y\n" + "".join(f"{t},{s},{t},{s}\n" for t, s in POINTS)
    check(read_digitised({"": put("wpd.csv", text)}, put("risk.csv", RISK)))


def test_wide_table_of_numbers_at_risk(put):
    files = {"a": put("one.csv", rows()), "b": put("two.csv", rows())}
    check(read_digitised(files, put("risk.csv", "time,a,b\n0,40,30\n12,20,12\n")))


@pytest.mark.parametrize(
    ("curve", "risk", "words"),
    [
        (rows([(0, 1), (6, 0.3), (12, 0.9)]), RISK, "rises by 0.60"),
        (rows([(-3, 1), (6, 0.9)]), RISK, "before 0"),
        (rows([(0, 1)]), RISK, "fewer than two points"),
        (rows([(0, 1.3), (6, 0.9)]), RISK, "outside its range"),
        ("time,survival\n0,1\n3,0.9\n6,\"0,8\"\n", RISK, "points and commas"),
        (rows(), "arm,time,n_at_risk\na,0,20\na,12,30\n", "rises from time 0 to 12"),
        (rows(), "arm,time,n_at_risk\na,6,20\n", "first row must be time 0"),
        (rows(), "arm,time,n_at_risk\na,0,20.5\n", "whole"),
        (rows(), "arm,time,n_at_risk\na,0,20\na,0,20\n", "must increase"),
        (rows(), "arm,time,n_at_risk\nb,0,20\n", "no numbers at risk for arm 'a'"),
        (rows(), "arm,month,n_at_risk\na,0,20\n", "column 'time' is missing"),
    ],
)  # fmt: skip
def test_faults_are_named(put, curve, risk, words):
    with pytest.raises(BadInput, match=words):
        read_digitised({"a": put("a.csv", curve)}, put("risk.csv", risk))


def test_all_faults_together(put):
    with pytest.raises(BadInput) as error:
        read_digitised(
            {"a": put("a.csv", rows([(-1, 1), (6, 0.2), (12, 0.9)]))}, put("risk.csv", RISK)
        )
    assert len(error.value.faults) == 2


def test_events_must_fit_the_arm(put):
    files = {"a": put("a.csv", rows()), "b": put("b.csv", rows())}
    with pytest.raises(BadInput, match="events beyond its patients"):
        read_digitised(files, put("risk.csv", RISK), {"a": 50})
    with pytest.raises(BadInput, match="unknown arm 'c'"):
        read_digitised(files, put("risk.csv", RISK), {"c": 5})


def one(put, curve, risk, name="a.csv"):
    return read_digitised({"a": put(name, curve)}, put("risk.csv", risk))["a"]


ONE_RISK = "arm,time,n_at_risk\na,0,40\na,12,20\na,24,9\n"


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        ("0;1\n6;0,8\n12;0,6\n24;0,5\n", "wpd.csv"),
        ("0.0, 1.0\n6, 0.8\n12, 0.6\n24, 0.5\n", "bare.csv"),
        ('x,a\n"0,0", "1,0"\n"6,0", "0,8"\n"12,0", "0,6"\n"24,0", "0,5"\n', "engauge.csv"),
        ("ID Time Surv\n1 0 1\n2 6 0.8\n3 12 0.6\n4 24 0.5\n", "guyot.txt"),
        ("Time\tSurv\n0\t100\n6\t80\n12\t60\n24\t50\n", "tab.csv"),
        ("a;\nX;Y\n0,0;1,0\n6,0;0,8\n12,0;0,6\n24,0;0,5\n", "wpd_wide.csv"),
        ("-0.1,1\n6,0.8\n12,0.6\n24,0.5\n", "early.csv"),
    ],
)
def test_files_of_the_usual_programs_read_alike(put, curve, name):
    arm = one(put, curve, ONE_RISK, name)
    assert arm.time.tolist() == [0, 6, 12, 24]
    scale = 100 if arm.survival.max() > 1.5 else 1
    np.testing.assert_allclose(arm.survival / scale, [1, 0.8, 0.6, 0.5])


@pytest.mark.parametrize(
    "risk",
    [
        "Interval t.risk lower upper n.risk\n1 0 1 2 40\n2 12 3 3 20\n3 24 4 4 9\n",
        "trisk,nrisk\n0,40\n12,20\n24,9\n",
        "time;a\n0;40\n12;20\n24;9\n",
        "arm\ttime\tn.risk\na\t0\t40\na\t12\t20\na\t24\t9\n",
    ],
)
def test_tables_at_risk_of_the_usual_programs_read_alike(put, risk):
    arm = one(put, rows(), risk)
    assert arm.risk_time.tolist() == [0, 12, 24]
    assert arm.at_risk.tolist() == [40, 20, 9]


@pytest.mark.parametrize(
    "risk",
    [
        "arm,time,n_at_risk,n_censored\na,0,40,0\na,12,20,4\na,24,9,11\n",
        "arm,time,n_at_risk\na,0,40 (0)\na,12,20 (4)\na,24,9 (11)\n",
        "time,a\n0,40 (0)\n12,20 (4)\n24,9 (11)\n",
    ],
)
def test_patients_censored_so_far(put, risk):
    arm = one(put, rows(), risk)
    assert arm.at_risk.tolist() == [40, 20, 9]
    assert arm.censored.tolist() == [0, 4, 11]


def test_censored_so_far_must_be_possible(put):
    risk = "arm,time,n_at_risk\na,0,40 (0)\na,12,20 (24)\na,24,9 (11)\n"
    with pytest.raises(BadInput) as bad:
        one(put, rows(), risk)
    assert "patients censored so far fall from time 12 to 24" in str(bad.value)
    assert "more patients censored before time 12 than have left by then" in str(bad.value)


@pytest.mark.parametrize(("scale", "mine", "other"), [(30.4, "days", "months"),
                                                      (1 / 30.4, "months", "days"),
                                                      (1 / 12, "years", "months")])  # fmt: skip
def test_a_curve_in_another_unit_than_its_table_is_refused(put, scale, mine, other):
    curve = rows([(t * scale, s) for t, s in POINTS])
    with pytest.raises(BadInput, match=f"a curve in {mine} and a table in {other}") as bad:
        one(put, curve, ONE_RISK)
    assert len(bad.value.faults) == 1


def test_a_table_given_in_part_is_no_other_unit(put):
    risk = "arm,time,n_at_risk\na,0,40\na,3,38\na,6,36\n"
    assert one(put, rows(), risk).at_risk.tolist() == [40, 38, 36]
