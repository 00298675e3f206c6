"""Faults come back from workers as what they were; a single analysis needs no worker."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from her2bayes.errors import BadInput, Fault
from her2bayes.reproduce import parallel
from her2bayes.reproduce.build import FAMILIES


def came_back(*content: object) -> Future:
    future: Future = Future()
    future.set_result(content)
    return future


def test_a_part_comes_back_as_it_is() -> None:
    part = object()
    assert parallel._result(came_back("done", part)) is part


def test_bad_input_keeps_all_its_faults() -> None:
    faults = (Fault("one", file="a.csv"), Fault("two"))
    with pytest.raises(BadInput) as caught:
        parallel._result(came_back("bad input", faults))
    assert caught.value.faults == faults


def test_an_internal_fault_carries_the_workers_traceback() -> None:
    with pytest.raises(RuntimeError, match="in a worker process: Traceback here"):
        parallel._result(came_back("fault", "Traceback here"))


def test_a_worker_that_vanished_is_named() -> None:
    future: Future = Future()
    future.set_exception(BrokenProcessPool("gone"))
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        parallel._result(future)


def test_every_family_has_its_place_in_the_order_of_work() -> None:
    assert sorted(parallel.LONGEST_FIRST) == sorted(family.name for family in FAMILIES)
