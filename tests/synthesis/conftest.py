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
    table = pd.DataFrame(
        [
            ("a", "positive", "zero", 23), ("a", "positive", "low", 92), ("a", "positive", "positive", 20),
            ("a", "negative", "zero", 30), ("a", "negative", "low", 35), ("a", "negative", "positive", 47),
            ("b", "positive", "zero", 554), ("b", "positive", "low", 504), ("b", "positive", "positive", 208),
            ("b", "negative", "zero", 216), ("b", "negative", "low", 104), ("b", "negative", "positive", 143),
            ("c", "", "negative", 300), ("c", "", "positive", 60),
            ("d", "", "zero", 40), ("d", "", "low", 55),
        ],
        columns=["study", "level", "her2", "n"],
    )  # fmt: skip
    found = hb.synthesise(table, sampling=SAMPLING)
    assert isinstance(found, SharesFit)
    return found


@pytest.fixture(scope="session")
def transitions() -> StudyTransitionsFit:
    """A table in part, one in coarser classes, and one that left a class out."""
    found = hb.synthesise(["shi2023", "hr2x2_137", "almstedt2023"], "transition", sampling=SAMPLING)
    assert isinstance(found, StudyTransitionsFit)
    return found
