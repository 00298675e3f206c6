"""What a fit depends on, as short hashes: data, source text, priors, options, library versions."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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


def source_digest(build: Callable[..., Any]) -> str:
    """Hash the file that defines ``build`` and every file of this package it imports."""
    files: set[Path] = set()
    _collect(Path(inspect.getsourcefile(inspect.unwrap(build)) or ""), files)
    hasher = hashlib.sha256()
    for path in sorted(files, key=lambda file: file.name):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def engine_digest() -> str:
    """Hash the files that turn a model into draws, so that a change in them is a new fit."""
    hasher = hashlib.sha256()
    for name in ("fit.py", "engine.py", "densities.py"):
        hasher.update((Path(__file__).parent / name).read_bytes())
    return hasher.hexdigest()


def _collect(path: Path, files: set[Path]) -> None:
    if path in files:
        return
    files.add(path)
    for name in _package_imports(ast.parse(path.read_text(encoding="utf-8"))):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and not spec.submodule_search_locations:
            _collect(Path(spec.origin), files)


def _package_imports(tree: ast.Module) -> set[str]:
    package = __name__.split(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith(f"{package}.") and _is_module(name)}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # "package.module.function": its parent is not a package
        return False


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
