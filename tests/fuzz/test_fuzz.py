"""Every reader answers every damaged input with a checked result or with ``BadInput``, in time.

The normal run is short and always the same. ``HER2_FUZZ=N`` (or ``pytest --fuzz N``) damages each
input about N times with seeds of its own; ``HER2_FUZZ_SEED`` starts elsewhere.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from her2bayes.errors import BadInput

from .doors import DOORS, Door
from .mutations import mutated

RUNS = 30
SECONDS = 20
FIRST = int(os.environ.get("HER2_FUZZ_SEED", "0"))


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> int:
    """How often an input of weight 1 is damaged."""
    return int(request.config.getoption("--fuzz") or os.environ.get("HER2_FUZZ") or RUNS)


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Fail where something takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(door: Door, folder: Path, seed: int) -> str | None:
    """Damage one file of a good input and read it; what is wrong with the answer, if anything."""
    chance = random.Random(f"{door.name} {seed}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    door.fill(folder)
    file = chance.choice(sorted(folder.iterdir()))
    file.write_bytes(mutated(file.read_bytes(), chance))
    try:
        with limit(SECONDS):
            door.read(folder)
    except BadInput as bad:
        if not bad.faults or not all(fault.problem for fault in bad.faults):
            return f"seed {seed}: BadInput without a fault"
        if len(str(bad)) > 200_000:
            return f"seed {seed}: a message of {len(str(bad))} characters"
    except Exception as error:
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
        return f"seed {seed} ({file.name}): {type(error).__name__} at {where}: {str(error)[:200]}"
    return None


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_damaged_input_is_refused_or_read_right(door: Door, runs: int) -> None:
    with tempfile.TemporaryDirectory() as space:
        count = max(1, round(runs * door.weight))
        found = [attempt(door, Path(space) / "in", FIRST + seed) for seed in range(count)]
    told = [text for text in found if text]
    assert not told, f"{len(told)} of {count}:\n" + "\n".join(told[:20])


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_the_undamaged_input_is_accepted(door: Door, tmp_path: Path) -> None:
    door.fill(tmp_path)
    door.read(tmp_path)
