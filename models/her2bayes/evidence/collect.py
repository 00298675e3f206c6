"""Results of Ibis expressions as pandas frames, whatever the engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ibis.expr.types as ir
import pandas as pd


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Keep to ourselves that ibis 12 calls a function DuckDB 2 has renamed; nothing of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"fetch_arrow_table\(\) is deprecated", category=DeprecationWarning
        )
        yield


def collect(expression: ir.Table) -> pd.DataFrame:
    """Run an expression and fetch its rows."""
    with without_deprecations():
        frame: pd.DataFrame = expression.to_pyarrow().to_pandas()
    return frame
