"""One raw feature column in, one encoded column out; the same code offline and online.

Text form of a categorical value: text as it is, whole numbers in decimal ("24" for 24 and 24.0),
booleans "true" and "false". Absent is None, or NaN for any kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ValueRefused
from features.schema import PADDING, UNKNOWN, Feature

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Column = npt.NDArray[Any]  # int32 or float32, by the feature's kind

ID_LENGTH: Final = 256  # characters of an item's or a user's id, at most
LARGEST: Final = 1e30  # beyond it a standardised value no longer fits float32 arithmetic


class _Absent:
    """The type of ABSENT, which says that a column holds nothing for an item."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


def text_of(value: object, param: str = "value") -> str | None:
    """The text form of a categorical value, None where it is absent; raises ValueRefused."""
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return _decimal(int(value), param)
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        if not math.isinf(value):
            return _decimal(int(value), param) if value == int(value) else repr(float(value))
    raise ValueRefused(param, f"expected text or a number, found {_kind_of(value)}")


def _decimal(value: int, param: str) -> str:
    if abs(value) > 10**100:  # turning longer ones into text takes quadratic time
        raise ValueRefused(param, "a whole number of more than 100 digits is not a usable value")
    return str(value)


def number_of(value: object, param: str = "value") -> float | None:
    """A numeric value, None where it is absent (None or NaN); raises ValueRefused."""
    if value is None:
        return None
    if isinstance(value, int | float | np.integer | np.floating | np.bool_):
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueRefused(param, "a number beyond 1e30 is out of range")
        number = float(value)
        if math.isnan(number):
            return None
        if abs(number) > LARGEST:
            raise ValueRefused(param, "a number beyond 1e30 is out of range")
        return number
    raise ValueRefused(param, f"expected a number, found {_kind_of(value)}")


def _kind_of(value: object) -> str:
    names: dict[type, str] = {str: "text", list: "a list", dict: "an object", tuple: "a list"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def encode_column(
    feature: Feature,
    values: Sequence[Any],
    param: Callable[[int], str] = "values[{}]".format,
) -> Column:
    """Encode raw values of one feature.

    Returns int32 (n,) for a categorical, int32 (n, max_length) for a bag (padded with 0; ids
    beyond max_length are cut), float32 (n, 2) of [standardised value, missing flag] for a numeric
    feature. Raises ValueRefused naming `param(i)` for a value of the wrong type.
    """
    if feature.kind == "categorical":
        return _categorical(feature, values, param)
    if feature.kind == "bag":
        return _bags(feature, values, param)
    return _numeric(feature, values, param)


def _texts(values: Iterable[Any], param: Callable[[int], str]) -> Iterator[str | None]:
    """Text forms; a value's name is made only where it is refused, which saves most of the time."""
    for place, value in enumerate(values):
        if type(value) is str:
            yield value
            continue
        try:
            yield text_of(value)
        except ValueRefused as refused:
            raise ValueRefused(param(place), refused.message) from None


def _categorical(feature: Feature, values: Sequence[Any], param: Callable[[int], str]) -> Int32:
    get = feature.index.get
    known = (UNKNOWN if text is None else get(text, UNKNOWN) for text in _texts(values, param))
    return np.fromiter(known, np.int32, count=len(values))


def _bags(feature: Feature, values: Sequence[Any], param: Callable[[int], str]) -> Int32:
    index, encoded = feature.index, np.full((len(values), feature.max_length), PADDING, np.int32)
    for place, value in enumerate(values):
        if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
            continue
        if not _is_list(value):
            raise ValueRefused(param(place), f"expected a list of values, found {_kind_of(value)}")
        texts = _texts(value, partial(_slot_param, param, place))
        known = [index.get(text, UNKNOWN) for text in texts if text is not None]
        known = list(dict.fromkeys(known))[: feature.max_length]
        encoded[place, : len(known)] = known
    return encoded


def _is_list(value: object) -> bool:
    """Not a set, whose order, and so what max_length cuts, is another in every process."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _slot_param(param: Callable[[int], str], place: int, slot: int) -> str:
    return f"{param(place)}[{slot}]"


def _numeric(feature: Feature, values: Sequence[Any], param: Callable[[int], str]) -> Float32:
    numbers = np.fromiter(
        (_number_or_nan(value, place, param) for place, value in enumerate(values)),
        np.float64,
        count=len(values),
    )
    encoded = np.empty((len(values), 2), np.float32)
    encoded[:, 1] = missing = np.isnan(numbers)
    encoded[:, 0] = np.where(missing, 0.0, standardise(feature, numbers))
    return encoded


def _number_or_nan(value: object, place: int, param: Callable[[int], str]) -> float:
    if type(value) is float and -LARGEST <= value <= LARGEST:
        return value
    try:
        number = number_of(value)
    except ValueRefused as refused:
        raise ValueRefused(param(place), refused.message) from None
    return math.nan if number is None else number


STANDARDISED_LIMIT: Final = 10.0


def standardise(feature: Feature, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(x − mean) / scale after the transform, cut at ±10 so that no outlier rules a list."""
    if feature.transform == "log":
        numbers = np.sign(numbers) * np.log1p(np.abs(numbers))
    with np.errstate(over="ignore"):  # beyond the largest float is beyond the limit
        standardised = (numbers - feature.mean) / feature.scale
    # two plain functions: np.clip takes longer than both on a short list
    return np.maximum(np.minimum(standardised, STANDARDISED_LIMIT), -STANDARDISED_LIMIT)
