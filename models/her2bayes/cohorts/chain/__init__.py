"""Markov chain over cohorts of patients that meet the printed numbers, and how it is compiled.

``fast`` leaves reference counting out, which costs many times the arithmetic where a hundred arrays
are handed on: a function so compiled may not allocate. ``outer`` is for those that do. ``inlined``
is ``fast`` put where it is called: handing on all those arrays costs more than what most of the
functions do, and half of a chain's time went there. ``summing`` may sum several rows at once.

Compiled functions are kept in a folder named by the sources of this one, all of which stand here:
numba looks only at the file of a function, and would go on with old code of those that it calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba

_config: Any = numba.config


def _folder() -> str:
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    if _config.CACHE_DIR:  # of the environment variable NUMBA_CACHE_DIR
        base = Path(_config.CACHE_DIR)
    elif os.access(here, os.W_OK):
        base = here / "__pycache__"
    else:
        base = Path("~/.cache/her2bayes").expanduser()
    return str(base / f"her2bayes-{sha256(sources).hexdigest()[:12]}")


FOLDER = _folder()


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_later(function: Callable[..., Any]) -> Any:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = FOLDER
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        finally:
            _config.CACHE_DIR = before

    return compile_later


outer: Any = _compiled()
fast: Any = _compiled(error_model="numpy", _nrt=False)
inlined: Any = _compiled(error_model="numpy", _nrt=False, forceinline=True)
summing: Any = _compiled(error_model="numpy", _nrt=False, fastmath={"reassoc", "contract", "nsz"})
