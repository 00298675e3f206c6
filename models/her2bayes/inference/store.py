"""Fits on disk, found by what they depend on: written whole or not at all, checked on every read.

What a fit depends on is its code (see ``meaning``), its data and settings: ``fit_key`` of them all.
One file per fit, ``<model>-<fit_id>-<first 16 digits of the SHA-256 of the file>.nc``. The name
carries the checksum, so that one rename makes the entry complete; two processes that want the same
fit wait for each other on a lock file and the second reads what the first computed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.errors import BadInput, Fault

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """A folder of fits, created on the first write."""

    folder: Path

    def load(self, model: str, fit_id: str) -> xr.DataTree | None:
        """Read a fit, or return None where there is none or its file is damaged (with a notice)."""
        for path in sorted(self.folder.glob(f"{model}-{fit_id}-*.nc")):
            content = path.read_bytes()
            if path.stem.rsplit("-", 1)[1] == _checksum(content):
                return xr.load_datatree(io.BytesIO(content), engine="h5netcdf")
            log.warning("stored fit %s is damaged (checksum differs): it is computed again", path)
        return None

    @staticmethod
    def checksum(path: Path) -> str:
        """Checksum of a file as its name carries it."""
        return _checksum(path.read_bytes())

    def save(self, model: str, fit_id: str, tree: xr.DataTree) -> Path:
        """Write a fit: temporary name, sync, rename; older files of the same fit are removed.

        Raises ``BadInput`` where the folder cannot be written or the disk is full.
        """
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            content = bytes(tree.to_netcdf(engine="h5netcdf"))
            path = self.folder / f"{model}-{fit_id}-{_checksum(content)}.nc"
            self._replace(path, content)
            for old in self.folder.glob(f"{model}-{fit_id}-*.nc"):
                if old != path:
                    old.unlink()
        return path

    def remove(self, model: str, fit_id: str) -> None:
        """Remove a fit, where there is one."""
        for path in self.folder.glob(f"{model}-{fit_id}-*.nc"):
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, fit_id: str) -> Iterator[None]:
        """Hold the lock of one fit; it ends with the process, however that ends."""
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / f".{fit_id}.lock").open("a")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _replace(self, path: Path, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=self.folder)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInput(
                Fault(
                    f"fits cannot be stored here: {error.strerror or error}",
                    file=self.folder,
                    remedy="give an output folder that can be written and has space",
                )
            ) from error


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def data_digest(data: Any) -> str:
    """Hash labelled data: values, labels, names and attributes; order of variables is irrelevant.

    ``data`` is an ``xr.DataArray``, an ``xr.Dataset``, a mapping of these, or anything JSON takes.
    """
    hasher = hashlib.sha256()
    _feed(hasher, data)
    return hasher.hexdigest()


def _feed(hasher: Any, data: Any) -> None:
    if isinstance(data, xr.DataArray):
        _feed_array(hasher, data)
        for name in sorted(map(str, data.coords)):
            hasher.update(f"coord {name}".encode())
            _feed_array(hasher, data.coords[name])
    elif isinstance(data, Mapping | xr.Dataset):
        parts = data.variables if isinstance(data, xr.Dataset) else data
        for name in sorted(map(str, parts)):
            hasher.update(f"part {name}".encode())
            _feed(hasher, data[name])
    elif isinstance(data, np.ndarray):
        _feed_array(hasher, xr.DataArray(data))
    else:
        hasher.update(json.dumps(data, sort_keys=True, default=str).encode())


def _feed_array(hasher: Any, array: xr.DataArray) -> None:
    values = np.asarray(array.values)
    hasher.update(json.dumps([list(map(str, array.dims)), list(values.shape)]).encode())
    hasher.update(json.dumps(dict(array.attrs), sort_keys=True, default=str).encode())
    if values.dtype.kind in "OUT":
        hasher.update(json.dumps(values.tolist(), default=str).encode())
    else:
        hasher.update(str(values.dtype).encode())
        hasher.update(np.ascontiguousarray(values).tobytes())


def fit_key(parts: Mapping[str, Any]) -> str:
    """Hash a provenance record into the 12 hexadecimal digits that name a fit."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
