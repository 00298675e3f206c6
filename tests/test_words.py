"""What speaks to users uses the terms of the field; the old ones of issue 28 fail here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*ROOT.glob("models/**/*.py"), *ROOT.glob("scripts/**/*.py")])
TEXTS = sorted([*ROOT.glob("models/**/templates/*"), ROOT / "README.md", *ROOT.glob("docs/*.md"),
                *ROOT.glob("data/**/*.md"), ROOT / "reports" / "README.md"])  # fmt: skip

OLD = {
    "beside a posterior": "have a posterior estimate",
    "interval against P": "CI–P inconsistency",
    "words against numbers": "text–data discrepancy",
    "random percentage (would )?fits?": "GRIM: 25 % consistent by chance",
    r"(zero|low|positive|\}) against (zero|low|positive|\{)": "vs",
    "the flow back|opposite flow": "net switching",
    "data taught|taught (nothing|everything)": "prior and posterior; contraction",
    "facts say": "bounds from the reported counts",
    "prior driven": "weakly identified",
    "(is|called) determined|bounded, 0": "point-identified, partially identified",
    "probability behind": "population probability",
    "[Cc]ohort's share|share of (this|the) cohort": "in-sample proportion",
    "[Rr]ow priors side by side": "prior sensitivity of the transition rows",
    "endlessly many": "large-sample estimand",
    "of ordinary size": "shrinkage prior centred at HR 1",
    "[Bb]efore the data the": "prior median",
    "as unlikely as": "predictive P",
    r"\bworth (\{|\d)|“Worth”|Worth:|\"Worth": "effective sample size",
    "make data like": "posterior predictive misfit",
    "distance from the mean": "χ² discrepancy",
    "counted otherwise": "outcome misclassified",
    "(R-hat|ESS|E-BFMI), (largest|least)|largest R-hat|least effective": "max R-hat, min ESS",
    "not knowing the patients": "reconstruction uncertainty",
    "admissible": "consistent with the report",
    r"95 % (interval|band)s?\b": "95 % CI, CrI or across-cohort interval",
    r"\(95 %\)": "(95 % CI) or (95 % CrI)",
    "readable survival": "Kaplan–Meier figures not part of the text at hand",
    "where nothing is borrowed": "without borrowing",
}
ALLOWED = re.compile(
    r"across-cohort 95 % interval|times \(95 %\) the average"
)  # named; a model's prior


def said(path: Path) -> Iterator[tuple[int, str]]:
    """Texts of a module with their lines: its strings, but docstrings, and names of columns."""
    tree = ast.parse(path.read_text("utf-8"))
    pieces = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    pieces |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values),
            )
        elif isinstance(node, ast.Constant) and id(node) not in pieces:
            yield node.lineno, str(node.value)


def old_terms(texts: Iterator[tuple[int, str]], place: str) -> list[str]:
    """Places, old terms and what to say."""
    return [
        f"{place}:{line}: '{hit.group()}', say: {new}"
        for line, text in texts
        for old, new in OLD.items()
        if (hit := re.search(old, ALLOWED.sub("", " ".join(text.split()))))
    ]


def test_what_speaks_to_users_says_no_old_term() -> None:
    found = []
    for path in CODE:
        found += old_terms(said(path), str(path.relative_to(ROOT)))
    for path in TEXTS:
        lines = path.read_text("utf-8").splitlines()
        pairs = (f"{a} {b}" for a, b in zip(lines, [*lines[1:], ""], strict=True))
        found += old_terms(enumerate(pairs, 1), str(path.relative_to(ROOT)))
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["zero against low", "82 quantities stand beside a posterior", "f'{a} against {b}'",
     "a random percentage would fit with chance 25 %", "flow zero -> low minus the flow back",
     "worth 12", "R-hat, largest", "95 % interval: Wilson", "Posterior (95 %)",
     "What the data taught"],
)  # fmt: skip
def test_an_old_term_is_found(text: str) -> None:
    assert old_terms(iter([(1, text)]), "here")
