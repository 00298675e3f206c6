"""Any data frame as an Arrow table: pandas, Polars, Arrow, or what narwhals understands."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import pyarrow as pa

from her2bayes.errors import BadInput, Fault, raise_if

NAME = "data frame"
"""What messages call a table that is no file."""
_ALLOWED = "a path, a data frame (pandas, Polars, PyArrow or another that exports Arrow)"


def as_arrow(frame: Any) -> pa.Table:
    """Columns of a data frame as Arrow, with the types that the frame gives them.

    The order of the categories of a pandas or Polars categorical is kept. A column of objects that
    Arrow has no type for (numbers and text mixed) becomes text. Raises ``BadInput`` for what is no
    data frame, and for a column name that stands twice.
    """
    if isinstance(frame, pd.DataFrame):
        table = _of_pandas(frame)
    elif isinstance(frame, pa.Table):
        table = frame
    elif isinstance(frame, pa.RecordBatch) or hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
    else:
        table = _through_narwhals(frame)
    names = table.column_names
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    remedy = "rename one of the two, so that it is clear which is meant"
    raise_if([Fault("column name stands twice", NAME, 1, name, remedy=remedy) for name in twice])
    if not table.num_rows:
        remedy = "check how the frame was made"
        raise BadInput(Fault("no rows", file=NAME, remedy=remedy))
    return table.replace_schema_metadata(None).unify_dictionaries()


def _of_pandas(frame: pd.DataFrame) -> pa.Table:
    titles = [str(name) for name in frame.columns]
    columns = [_column(frame.iloc[:, place]) for place in range(len(titles))]
    return pa.Table.from_arrays(columns, names=titles)


def _column(column: pd.Series) -> pa.Array:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        text = column.astype("object").map(str, na_action="ignore")
        return pa.array([None if pd.isna(cell) else cell for cell in text], pa.string())


def _through_narwhals(frame: Any) -> pa.Table:
    import narwhals as nw

    try:
        native = nw.from_native(frame)
    except TypeError as error:
        raise BadInput(
            Fault("no table of patients or counts", value=type(frame).__name__, allowed=_ALLOWED,
                  remedy="give one of those")
        ) from error  # fmt: skip
    eager = native.collect() if isinstance(native, nw.LazyFrame) else native
    table: pa.Table = eager.to_arrow()
    return table


def as_text(column: pa.ChunkedArray) -> pd.Series:
    """Text of a typed column: whole numbers without a decimal point, missing as empty."""
    series = column.to_pandas()
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    dates = pd.api.types.is_datetime64_any_dtype(series)
    if pd.api.types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
        series = series.astype("Int64")
    text = series.astype("string").fillna("")
    if dates:
        text = text.str.removesuffix(" 00:00:00")
    return text.astype("str")


def text_columns(table: pa.Table) -> pa.Table:
    """All columns of a typed table as text."""
    texts = {name: pa.array(as_text(table[name]), pa.string()) for name in table.column_names}
    return pa.table(texts)


def without_dictionaries(table: pa.Table) -> pa.Table:
    """The same columns without dictionaries, which engines know under different names."""
    for place, kind in enumerate(table.schema.types):
        if pa.types.is_dictionary(kind):
            column = table.column(place).cast(kind.value_type)
            table = table.set_column(place, table.column_names[place], column)
    return table


def levels_in_order(table: pa.Table, name: str) -> tuple[str, ...]:
    """Categories of a categorical column in the order somebody gave them; empty for other columns.

    Categories in the order of the alphabet are in no order that somebody gave, unless the frame
    says that they are ordered.
    """
    if name not in table.column_names:
        return ()
    kind = table.schema.field(name).type
    if not pa.types.is_dictionary(kind) or not table[name].num_chunks:
        return ()
    known = [str(level) for level in table[name].chunk(0).dictionary.to_pylist()]
    if known == sorted(known) and not kind.ordered:
        return ()
    seen = set(map(str, table[name].unique().to_pylist()))
    return tuple(level for level in known if level in seen)


def digest_of(table: pa.Table) -> str:
    """Digest of names, types and values, however the table is cut into chunks."""
    sink = pa.BufferOutputStream()
    plain = without_dictionaries(table).replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return hashlib.sha256(sink.getvalue()).hexdigest()
