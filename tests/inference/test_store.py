"""The store of fits: whole or absent, one writer at a time, clear words where it cannot write."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.inference.store import Store

ID = "0123456789ab"


def tree(value: float = 1.0) -> xr.DataTree:
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("draw", np.full(5, value))})})


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "fits")
    with store.lock(ID):
        path = store.save("model", ID, tree())
    assert path.name.startswith(f"model-{ID}-")
    found = store.load("model", ID)
    assert found is not None
    xr.testing.assert_identical(found, tree())
    assert store.load("model", "ffffffffffff") is None
    assert store.load("mod", ID) is None


def test_saving_again_leaves_one_file_and_no_temporary_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for value in (1.0, 2.0):
        store.save("model", ID, tree(value))
    assert len(list(tmp_path.iterdir())) == 1
    found = store.load("model", ID)
    assert found is not None
    assert float(found["posterior"]["x"][0]) == 2.0


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damage_is_noticed_and_the_entry_counts_as_absent(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    path = store.save("model", ID, tree())
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    path.write_bytes({"flip": flipped, "cut": content[:100], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert store.load("model", ID) is None
    assert path.name in caplog.text


def test_a_file_where_the_folder_should_be_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "fits").write_text("in the way", encoding="utf-8")
    store = Store(tmp_path / "fits")
    with pytest.raises(BadInput, match=r"cannot be stored here.*remedy"), store.lock(ID):
        pass
    with pytest.raises(BadInput, match="cannot be stored here"):
        store.save("model", ID, tree())


def test_a_full_disk_is_bad_input_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="No space left on device"):
        Store(tmp_path).save("model", ID, tree())
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_the_lock_is_not_blamed_on_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="something else"), Store(tmp_path).lock(ID):
        raise FileNotFoundError("something else")


def _compute_once(folder: Path, count: Any) -> None:
    store = Store(folder)
    with store.lock(ID):
        if store.load("model", ID) is None:
            with count.get_lock():
                count.value += 1
            time.sleep(0.3)
            store.save("model", ID, tree())


def test_two_processes_that_want_one_fit_compute_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    count = context.Value("i", 0)
    workers = [context.Process(target=_compute_once, args=(tmp_path, count)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert count.value == 1
