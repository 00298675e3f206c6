"""Checkouts in three states: without any Python, ready, and with an installer that waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .checkout import FULL, Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout without any Python."""
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout whose environment is made."""
    checkout.pyenv("3.13.0")
    assert checkout.run("show")[0] == 0
    assert checkout.steps() == FULL
    return checkout


@pytest.fixture
def held(checkout: Checkout) -> Iterator[Checkout]:
    """A checkout in which pip waits to be released."""
    checkout.pyenv("3.13.0")
    checkout.hold()
    yield checkout
    checkout.release()
