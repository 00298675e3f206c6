"""What a fit depends on besides its code (see ``meaning``), as short hashes: data, versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr

LIBRARIES = ("pymc", "pytensor", "nutpie", "numba", "numpy", "scipy", "xarray", "arviz-stats")


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


def versions() -> dict[str, str]:
    """Read library versions from installed metadata, without importing any of them."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def key(parts: Mapping[str, Any]) -> str:
    """Hash a provenance record into the 12 hexadecimal digits that name a fit."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
