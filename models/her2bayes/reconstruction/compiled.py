"""How the chains over cohorts are compiled.

``fast`` leaves reference counting out, which costs many times the arithmetic where a hundred arrays
are handed on: a function so compiled may not allocate. ``outer`` is for those that do.
"""

from __future__ import annotations

from typing import Any

import numba

outer: Any = numba.njit(cache=True, nogil=True)
fast: Any = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
