"""Numbers that did not converge are named to the user, one line a reason."""

from __future__ import annotations

import pandas as pd

from her2bayes.page.fit_card import failed_fits, failures

NAMES = ["median[os]", "rmst[os]", "a[]", "b[]", "c[]", "d[]", "e[]", "f[]"]


def table(verdicts: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "estimand": NAMES[: len(verdicts)],
            "convergence": verdicts,
            "fit_id": "0123",
            "model": "survival",
        }
    )


def test_nothing_is_said_of_what_converged() -> None:
    assert failures(table(["converged", "chains agree"])) == ()
    assert failed_fits(table(["converged"])) == []
    assert failures(table([])) == ()


def test_each_failing_quantity_is_named_with_its_reason() -> None:
    found = table(["not converged: R-hat 1.03", "converged", "chains disagree: ESS 20"])
    assert failures(found) == (
        "Not converged: 1 of 3 quantities, R-hat 1.03: median[os]",
        "Not converged: 1 of 3 quantities, ESS 20: a[]",
    )
    assert failed_fits(found)[0] == ("survival (fit 0123), R-hat 1.03: median[os]")


def test_many_quantities_of_one_reason_are_counted() -> None:
    (line,) = failures(table(["not converged: 3 divergences"] * 8))
    assert line == (
        "Not converged: 8 of 8 quantities, 3 divergences: median[os], rmst[os], a[], b[], c[] "
        "and 3 more"
    )
