"""Settings of a run are refused together when they cannot be used."""

from __future__ import annotations

import pytest

from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling


def test_defaults_are_usable_and_frozen() -> None:
    settings = Sampling()
    assert settings.chains * settings.draws >= 4000
    with pytest.raises(AttributeError):
        settings.seed = 3  # type: ignore[misc]


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(BadInput) as raised:
        Sampling(draws=0, chains=1, target_accept=1.0, sampler="stan", adaptation="none", seed=-1)
    assert len(raised.value.faults) == 6
    assert "R-hat compares chains" in str(raised.value)
