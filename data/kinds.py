"""What type a column has whose type differs from part to part of a table.

Exporters give a part the narrowest type that fits what it happens to hold: whole numbers here and
floats there, a bag that is empty throughout, no value at all. One type holds the values of both, or
the table is refused; whole numbers are never rounded on the way (Files.exact of data/files.py).
"""

from __future__ import annotations

import polars as pl


def common(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """A type for both: the wider number, the moment in UTC; None where there is none."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    for this, that in ((one, other), (other, one)):
        if this == pl.Boolean and that.is_numeric():
            return that
    if one.is_numeric() and other.is_numeric():
        return _wider(one, other)
    if isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime):
        same = (one.time_zone is None) == (other.time_zone is None)
        return pl.Datetime("us", "UTC" if one.time_zone else None) if same else None
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return _common_list(one, other)
    texts = (pl.String, pl.Categorical, pl.Enum)
    return pl.String() if one in texts and other in texts else None


def _wider(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """A number for both; whole ones stay whole, however long they are."""
    both = [pl.DataFrame({"x": pl.Series([], dtype=kind)}) for kind in (one, other)]
    wider = pl.concat(both, how="vertical_relaxed")["x"].dtype
    if not (wider.is_float() and is_exact(one) and is_exact(other)):
        return wider
    scales = [kind.scale for kind in (one, other) if isinstance(kind, pl.Decimal)]
    return pl.Decimal(38, max(scales)) if scales else pl.Int128()


def is_exact(kind: pl.DataType) -> bool:
    """Whether numbers are kept to their last digit, however long they are."""
    return kind.is_integer() or kind == pl.Decimal


def _common_list(one: pl.List, other: pl.List) -> pl.DataType | None:
    """Bags of what both can hold; members that are whole numbers are no floats."""
    inner = common(one.inner, other.inner)  # type: ignore[arg-type]
    mixed = {kind.is_float() for kind in (one.inner, other.inner) if kind != pl.Null}  # type: ignore[union-attr]
    return None if inner is None or len(mixed) > 1 else pl.List(inner)


def read_as(name: str, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column of one type as another that `common` found for it."""
    column = pl.col(name)
    if found == wanted:
        return column
    if isinstance(wanted, pl.Datetime) and wanted.time_zone:
        column = column.dt.convert_time_zone(wanted.time_zone)
    return column.cast(wanted)
