"""Syntheses that several test files ask, each fitted once."""

from __future__ import annotations

import pandas as pd
import pytest

import her2bayes as hb
from her2bayes.inference.sampling import Sampling
from her2bayes.synthesis.shares import SharesFit
from her2bayes.synthesis.transitions import StudyTransitionsFit

SAMPLING = Sampling(chains=4, draws=1000, tune=1000)


@pytest.fixture(scope="session")
def shares() -> SharesFit:
    """Two printed studies with levels, one in coarser classes, one without levels."""
    counts = {
        ("a", "positive"): (23, 92, 20), ("a", "negative"): (30, 35, 47),
        ("b", "positive"): (554, 504, 208), ("b", "negative"): (216, 104, 143),
    }  # fmt: skip
    classes = ("zero", "low", "positive")
    rows = [(*at, her2, n) for at, three in counts.items()
            for her2, n in zip(classes, three, strict=True)]  # fmt: skip
    rows += [("c", "", "negative", 300), ("c", "", "positive", 60)]
    rows += [("d", "", "zero", 40), ("d", "", "low", 55)]
    table = pd.DataFrame(rows, columns=["study", "level", "her2", "n"])
    found = hb.synthesise(table, sampling=SAMPLING)
    assert isinstance(found, SharesFit)
    return found


@pytest.fixture(scope="session")
def transitions() -> StudyTransitionsFit:
    """A table in part, one in coarser classes, and one that left a class out."""
    found = hb.synthesise(["shi2023", "hr2x2_137", "almstedt2023"], "transition", sampling=SAMPLING)
    assert isinstance(found, StudyTransitionsFit)
    return found
