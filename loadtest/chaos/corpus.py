"""Hostile bodies against any bundle: every place of a request times every odd value.

bodies(info)                      # name -> body, from what GET /info says
run("http://127.0.0.1:8000")      # these, 20,000 generated ones and raw HTTP, and what came back
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from loadtest.chaos.mutations import generated as mutated
from loadtest.chaos.odd import ODD, filled, hole
from loadtest.chaos.sent import Progress, Sender
from loadtest.chaos.valid import Feature, Schema

GENERATED: Final = 20_000

_KEYS: Final = {
    "empty": "", "unknown": "histroy", "of a path": "../x", "proto": "__proto__", "NUL": "\0",
    "of another case": "Candidates", "not ASCII": "ключ", "100,000 characters": "k" * 100_000,
    "emoji": "🛒", "newline": "a\r\nb", "surrogate": "\ud800",
}  # fmt: skip
_WHOLE: Final[dict[str, Any]] = {
    "request_id": "r-1", "user": {"id": "42", "features": {}}, "history": ["1", "2"],
    "candidates": ["1", "2", "3"], "top_k": 2, "deadline_ms": 1_000, "mode": "scorer",
    "on_failure": "incoming",
}  # fmt: skip


def run(
    url: str,
    api_key: str | None = None,
    generated: int = GENERATED,
    progress: Progress = lambda done, total: None,
    seed: int = 0,
) -> dict[str, Any]:
    """Send the whole corpus, `generated` bodies and raw HTTP, and count what came back.

    `progress` hears how many of how many are done. The report has `requests`, `statuses`, `kinds`
    (outcomes by kind of request), `offences`, the first `offenders`, `seconds` and
    `requests_per_second`. Raises LoadError where no model serves there.
    """
    sender = Sender(url.rstrip("/"), api_key, progress)
    return asyncio.run(sender.run(bodies, partial(_numbered, generated, seed), generated))


def generated(info: Mapping[str, Any], count: int, seed: int = 0) -> Iterator[bytes]:
    """Valid requests of this bundle, altered; the same for one seed."""
    return mutated(info, count, seed)


def _numbered(count: int, seed: int, info: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    return ((f"number {n}, seed {seed}", one) for n, one in enumerate(mutated(info, count, seed)))


def bodies(info: Mapping[str, Any]) -> dict[str, bytes]:
    """Every body by the place and value it is odd in. Raises LoadError where no model serves."""
    schema = Schema(info)
    found = {
        f"{place}: {name}": filled(_at(body, hole(name)))
        for place, body in _places(schema).items()
        for name in ODD
    }
    found |= {f"key of {place}: {name}": one for place, name, one in _odd_keys()}
    found |= {f"form: {name}": one for name, one in _forms(schema).items()}
    return found


class _Here:
    """Marks the place in a body."""


_HERE: Final = _Here()


def _at(body: Any, value: Any) -> Any:
    """The body with the value in the marked place."""
    if body is _HERE:
        return value
    if isinstance(body, dict):
        return {key: _at(one, value) for key, one in body.items()}
    return [_at(one, value) for one in body] if isinstance(body, list) else body


def _places(schema: Schema) -> dict[str, Any]:
    """Bodies that are good but for the marked place."""
    found: dict[str, Any] = {"body": _HERE}
    found |= {key: {**_WHOLE, key: _HERE} for key in _WHOLE}
    found |= {
        "another key": {**_WHOLE, "another": _HERE},
        "user.id": {**_WHOLE, "user": {"id": _HERE}},
        "user.features": {**_WHOLE, "user": {"features": _HERE}},
        "history[1]": {**_WHOLE, "history": ["1", _HERE]},
        "history[1].id": {**_WHOLE, "history": ["1", {"id": _HERE}]},
        "history[1].features": {**_WHOLE, "history": ["1", {"id": "2", "features": _HERE}]},
        "candidates[1]": _of_rows(_HERE),
        "candidates[1].id": _of_rows({"id": _HERE}),
        "candidates[1].score": _of_rows({"id": "2", "score": _HERE}),
        "candidates[1].features": _of_rows({"id": "2", "features": _HERE}),
        "candidates[1].features.unknown": _of_rows({"id": "2", "features": {"unknown": _HERE}}),
        "candidates[1].another": _of_rows({"id": "2", "another": _HERE}),
        "candidates.id": _of_columns({"id": _HERE}),
        "candidates.id[1]": _of_columns({"id": ["1", _HERE, "3"]}),
        "candidates.score": _of_columns({"score": _HERE}),
        "candidates.score[1]": _of_columns({"score": [0.5, _HERE, 1]}),
        "candidates.features": _of_columns({"features": _HERE}),
        "candidates.features.unknown": _of_columns({"features": {"unknown": _HERE}}),
    }
    for place, one in (*_one_a_kind(schema.user), *_one_a_kind(schema.user, "[0]")):
        found[f"user.features.{place}"] = {**_WHOLE, "user": {"features": one}}
    for place, one in _one_a_kind(schema.item):
        history = [{"id": "1", "features": one}]
        found[f"history[0].features.{place}"] = {**_WHOLE, "history": history}
    for place, one in (*_all(schema.candidate), *_one_a_kind(schema.candidate, "[0]")):
        found[f"candidates[1].features.{place}"] = _of_rows({"id": "2", "features": one})
    for place, one in _one_a_kind(schema.candidate):
        found[f"candidates.features.{place}"] = _of_columns({"features": one})
    for place, one in _one_a_kind(schema.candidate, "[1]"):
        (name,) = one
        column = {name: [None, _HERE, None]}
        found[f"candidates.features.{place}"] = _of_columns({"features": column})
    return found


def _of_rows(odd: Any) -> dict[str, Any]:
    return {**_WHOLE, "candidates": ["1", odd, "3"]}


def _of_columns(odd: Mapping[str, Any]) -> dict[str, Any]:
    return {**_WHOLE, "candidates": {"id": ["1", "2", "3"], **odd}}


def _all(features: Any, within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for one in features:
        yield f"{one['name']}{within}", {one["name"]: [_HERE] if within else _HERE}


def _one_a_kind(features: Any, within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    first: dict[str, Feature] = {}
    for one in features:
        first.setdefault(one["kind"], one)
    return _all(first.values(), within)


def _odd_keys() -> Iterator[tuple[str, str, bytes]]:
    """An odd key beside the good ones, and every good key twice, in each object of a request."""
    item: dict[str, Any] = {"id": "2", "score": 1, "features": {}}
    objects: dict[str, tuple[dict[str, Any], Any]] = {
        "body": (_WHOLE, _HERE), "user": (_WHOLE["user"], {**_WHOLE, "user": _HERE}),
        "features": ({}, _of_rows({"id": "2", "features": _HERE})),
        "candidates[1]": (item, _of_rows(_HERE)),
        "history[0]": ({"id": "2"}, {**_WHOLE, "history": [_HERE]}),
        "candidates": ({"id": ["1", "2"], "score": [1, 2]}, {**_WHOLE, "candidates": _HERE}),
    }  # fmt: skip
    for place, (good, body) in objects.items():
        for name, key in _KEYS.items():
            yield place, name, filled(_at(body, {**good, key: 1}))
        for key, value in good.items():
            for name, before in (("good", value), ("bad", float("nan"))):
                pairs = [*good.items(), (key, before), (key, value if name == "bad" else [])]
                twice = ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs)
                around = json.dumps(_at(body, "<<>>"), separators=(",", ":"))
                text = around.replace('"<<>>"', f"{{{twice}}}").encode()
                yield place, f"{key} twice, {name} first", text


def _forms(schema: Schema) -> dict[str, bytes]:
    """What is odd as a whole: its size, its coding, its lengths."""
    good, most = json.dumps(_WHOLE).encode(), schema.limits
    ids = [str(number) for number in range(most["candidates"] + 1)]
    found = {
        "no bytes": b"", "blank": b" \r\n\t", "NULs": b"\0" * 64, "byte order mark":
        b"\xef\xbb\xbf" + good, "UTF-16": good.decode().encode("utf-16"), "UTF-32":
        good.decode().encode("utf-32"), "gzip": gzip.compress(good, mtime=0), "twice": good * 2,
        "text after it": good + b"x", "form": b"candidates=1&candidates=2", "markup": b"<a/>",
        "in text": json.dumps(good.decode()).encode(), "all null":
        json.dumps(dict.fromkeys(_WHOLE)).encode(), "at the limit": good.ljust(most["body_bytes"]),
        "over the limit": good.ljust(most["body_bytes"] + 1), "far over the limit":
        good.ljust(4 * most["body_bytes"]), "as many candidates as allowed":
        filled({"candidates": ids[1:]}), "one candidate more": filled({"candidates": ids}),
        "as many columns": filled({"candidates": {"id": ids[1:]}}), "one column more":
        filled({"candidates": {"id": ids}}), "one history more":
        filled({**_WHOLE, "history": ["1"] * (most["history"] + 1)}), "no candidates":
        filled({**_WHOLE, "candidates": []}), "no columns":
        filled({**_WHOLE, "candidates": {"id": []}}), "one candidate":
        filled({**_WHOLE, "candidates": ["1"]}), "same text twice":
        filled({"candidates": ["1", "2", "1"]}), "same as number": filled({"candidates": [1, "1"]}),
        "same as object": filled({"candidates": ["1", {"id": 1}]}), "same in columns":
        filled({"candidates": {"id": ["1", "1"]}}),
    }  # fmt: skip
    for length in (0, 1, 4):
        for name in ("score", *(one["name"] for one in schema.candidate)):
            column = [None] * length
            parts = {"score": column} if name == "score" else {"features": {name: column}}
            found[f"{length} of {name} for 3"] = filled(_of_columns(parts))
    for key in _WHOLE:
        left = {name: one for name, one in _WHOLE.items() if name != key}
        found[f"without {key}"] = filled(left)
    for place in range(1, len(good), max(1, len(good) // 40)):
        found[f"cut at {place}"] = good[:place]
    return found
