"""A list as the JSON body of `POST /rerank`: for golden requests, demonstrations and load tests."""

from __future__ import annotations

from typing import Any

from features.encode import RawItems, Request


def rerank_body(request: Request, **fields: Any) -> dict[str, Any]:
    """The body that the service decodes back into `request`; `fields` are added as they are.

    Candidates are ids alone where nothing else is known of them, else columns.
    """
    history, candidates = list(request.history.ids), list(request.candidates.ids)
    assert not request.history.columns, "history by id: inline features of history are not written"
    return {
        **({"user": {"features": dict(request.user)}} if request.user else {}),
        "history": history,
        "candidates": _columns(request.candidates) if request.candidates.columns else candidates,
        **fields,
    }


def as_rows(body: dict[str, Any]) -> dict[str, Any]:
    """The same request with its columnar candidates as objects, each with its own features."""
    columns = body["candidates"]
    if not isinstance(columns, dict):  # ids alone
        return {**body, "candidates": [{"id": item} for item in columns]}
    score, features = columns.get("score"), columns.get("features", {})
    rows = [
        {
            "id": item,
            **({"score": score[place]} if score else {}),
            **(
                {"features": {n: values[place] for n, values in features.items()}}
                if features
                else {}
            ),
        }
        for place, item in enumerate(columns["id"])
    ]
    return {**body, "candidates": rows}


def _columns(items: RawItems) -> dict[str, Any]:
    features = {name: list(values) for name, values in items.columns.items()}
    score = {"score": features.pop("score")} if "score" in features else {}
    return {"id": list(items.ids), **score, **({"features": features} if features else {})}
