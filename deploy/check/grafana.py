"""The dashboard by Grafana's own types: what they do not know would be ignored without a word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from deploy.check.tools import Wrong

# of Prometheus' annotations and of newer Grafanas; these types, of 10.1, leave them out
KNOWN_BESIDES: Final = frozenset((
    ".annotations.list[].titleFormat", ".annotations.list[].step",
    ".templating.list[].definition", ".panels[].options.tooltip.mode",
))  # fmt: skip


def check_types(dashboard: dict[str, Any]) -> None:
    """Read it into the types and write it again. Raises Wrong, naming what got lost on the way."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    try:
        again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Wrong(f"the dashboard is none by Grafana's types: {error!r}") from None
    places = {re.sub(r"\[\d+\]", "[]", place): place for place in _lost(dashboard, again)}
    if unknown := places.keys() - KNOWN_BESIDES:
        raise Wrong(f"Grafana's types do not know {', '.join(places[one] for one in unknown)}")


def _lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where `before` says something that `after` does not say."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from _lost(value, after[key], f"{place}.{key}")
            elif value is not None:
                yield f"{place}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield place
