"""A request as JSON, in the shapes the service takes."""

from __future__ import annotations

from features.body import as_rows, rerank_body
from features.encode import RawItems, Request


def test_columns_become_rows_with_each_items_own_values() -> None:
    items = RawItems(["a", "b"], {"price": [1.0, None], "score": [0.5, 0.25]})
    body = rerank_body(Request({}, RawItems(["h"]), items), top_k=2)
    assert body["candidates"] == {
        "id": ["a", "b"], "score": [0.5, 0.25], "features": {"price": [1.0, None]},
    }  # fmt: skip
    assert as_rows(body) == {
        "history": ["h"], "top_k": 2,
        "candidates": [{"id": "a", "score": 0.5, "features": {"price": 1.0}},
                       {"id": "b", "score": 0.25, "features": {"price": None}}],
    }  # fmt: skip


def test_ids_alone_become_rows_too() -> None:
    body = rerank_body(Request({"age": 3}, RawItems([]), RawItems(["a", "b"])))
    assert as_rows(body)["candidates"] == [{"id": "a"}, {"id": "b"}]
    assert body["user"] == {"features": {"age": 3}}
