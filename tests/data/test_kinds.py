from __future__ import annotations

import polars as pl
import pytest

from data.kinds import common, is_exact, read_as

Bag = pl.List


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pl.Int8(), pl.Int64(), pl.Int64()),
        (pl.Int64(), pl.UInt64(), pl.Int128()),
        (pl.Int64(), pl.Float64(), pl.Float64()),
        (pl.Boolean(), pl.Int8(), pl.Int8()),
        (pl.Boolean(), pl.Float32(), pl.Float32()),
        (pl.Boolean(), pl.String(), None),
        (pl.Null(), pl.Boolean(), pl.Boolean()),
        (pl.Null(), Bag(pl.String()), Bag(pl.String())),
        (Bag(pl.Null()), Bag(pl.String()), Bag(pl.String())),
        (Bag(pl.Int8()), Bag(pl.Int64()), Bag(pl.Int64())),
        (Bag(pl.Int64()), Bag(pl.Float64()), None),
        (Bag(pl.Int64()), Bag(pl.String()), None),
        (Bag(pl.String()), pl.String(), None),
        (pl.Int64(), pl.String(), None),
        (pl.Date(), pl.Int64(), None),
    ],
)
def test_two_types_have_one_that_holds_both_in_either_order_or_none(one, other, expected):
    assert common(one, other) == expected
    assert common(other, one) == expected
    assert common(one, one) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.UInt64(), pl.Int64()),
        (pl.Decimal(38, 0), pl.Int64()),
        (pl.Decimal(20, 0), pl.Decimal(9, 2)),
        (pl.Decimal(9, 2), pl.UInt64()),
    ],
)
def test_numbers_that_are_exact_stay_exact(one, other):
    wanted = common(one, other)
    assert is_exact(wanted)
    number = pl.Series("c", ["9007199254740993"]).cast(pl.Decimal(38, 0)).cast(pl.Int64)
    for kind in (one, other):
        if not isinstance(kind, pl.Decimal) or kind.precision > 16:
            held = number.cast(kind).to_frame().select(read_as("c", kind, wanted))
            assert held["c"].cast(pl.Decimal(38, 0)).cast(pl.Int64).item() == 2**53 + 1
