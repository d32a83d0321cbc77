"""Bodies without end: valid requests, altered as JSON, as bytes, or both. The same for one seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from loadtest.chaos.odd import ODD, SMALL, filled, hole
from loadtest.chaos.valid import Schema, request

_SIGNS: Final = b'{}[]",:\\0123456789.-+eEnulltrfas \0\xff\xc3\xed'
_KEYS: Final = ("id", "score", "features", "candidates", "history", "user", "x", "", "top_k")


def generated(info: Mapping[str, Any], count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` bodies; raises LoadError where no model serves."""
    schema, chance = Schema(info), random.Random(seed)
    last = b"{}"
    for _ in range(count):
        body, how = request(schema, chance), chance.random()
        if how < 0.9:
            for _ in range(chance.choice([1, 1, 1, 2, 4])):
                body = _altered(body, chance)
        text = filled(body)
        if how >= 0.7:
            for _ in range(chance.choice([1, 1, 2, 5])):
                text = chance.choice(_BYTES)(text, last, chance)
        last = text
        yield text


def _altered(body: Any, chance: random.Random) -> Any:
    """One change somewhere in it, all of its values being as likely to be met."""
    made = copy.deepcopy(body)
    places = list(_places(made)) if isinstance(made, dict | list) else []
    if not places:
        return _any_odd(chance)
    holder, key = chance.choice(places)
    chance.choice(_CHANGES)(holder, key, chance)
    return made


def _any_odd(chance: random.Random) -> str:
    """Mostly one that is JSON: what is none is refused before anything else is looked at."""
    whole, small = _odd_names()
    return hole(chance.choice(whole if chance.random() < 0.9 else small))


@cache
def _odd_names() -> tuple[list[str], list[str]]:
    """Of values that JSON has, and of all; without the large ones."""
    small = [name for name, one in ODD.items() if len(one) <= SMALL]
    return [name for name in small if _is_json(ODD[name])], small


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) in it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _odd(holder: Any, key: Any, chance: random.Random) -> None:
    holder[key] = _any_odd(chance)


def _leave_out(holder: Any, key: Any, chance: random.Random) -> None:
    del holder[key]


def _wrap(holder: Any, key: Any, chance: random.Random) -> None:
    within: Any = holder[key]
    for _ in range(chance.choice([1, 2, 40, 90])):
        within = [within] if chance.random() < 0.5 else {chance.choice(_KEYS): within}
    holder[key] = within


def _rename(holder: Any, key: Any, chance: random.Random) -> None:
    if isinstance(holder, dict):
        holder[chance.choice(_KEYS)] = holder.pop(key)
    else:
        holder.insert(key, holder[key])  # an item twice


def _move(holder: Any, key: Any, chance: random.Random) -> None:
    """What stands elsewhere in the same object or list."""
    others = list(holder.values()) if isinstance(holder, dict) else holder
    holder[key] = copy.deepcopy(chance.choice(others))


def _repeat(holder: Any, key: Any, chance: random.Random) -> None:
    one, times = holder[key], chance.choice([2, 30, 1_200])
    large = isinstance(one, dict | list) and sum(1 for _ in _places(one)) > 50
    holder[key] = [copy.deepcopy(one) for _ in range(2 if large else times)]


Change = Callable[[Any, Any, random.Random], None]
_CHANGES: Final[tuple[Change, ...]] = (_odd, _odd, _odd, _leave_out, _wrap, _rename, _move, _repeat)


def _flip(text: bytes, last: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(text) + 1)
    return text[:place] + bytes([chance.randrange(256)]) + text[place + 1 :]


def _sign(text: bytes, last: bytes, chance: random.Random) -> bytes:
    """A byte that means something, put in or in place of another."""
    place, sign = chance.randrange(len(text) + 1), chance.choice(_SIGNS)
    return text[:place] + bytes([sign]) + text[place + chance.randrange(2) :]


def _cut(text: bytes, last: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:begin] + text[end:] if chance.random() < 0.5 else text[:end]


def _double(text: bytes, last: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:end] + text[begin:]


def _splice(text: bytes, last: bytes, chance: random.Random) -> bytes:
    """Half of this body, half of the one before."""
    return text[: chance.randrange(len(text) + 1)] + last[chance.randrange(len(last) + 1) :]


def _noise(text: bytes, last: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.randbytes(chance.randrange(1, 20)) + text[place:]


_BYTES: Final = (_flip, _sign, _sign, _cut, _double, _splice, _noise)
