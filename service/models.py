"""Which model serves: loads a bundle off the event loop and holds the reference to it.

The place of reload, rollback and shadow: each is one more reference beside `current`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from features.bundle import resolve
from features.errors import PsadError
from service import logs
from service.decode import Decoder
from service.engine import Engine
from service.errors import Mode, StartRefused
from service.golden import replay
from service.grammar import Limits
from service.metrics import Metrics
from service.settings import Settings

# golden requests are as long as training's lists, whatever callers are held to here
_UNLIMITED: Final = Limits(candidates=1_000_000, history=1_000_000)


@dataclass(frozen=True, slots=True)
class Model:
    """An engine that passed its golden requests, with the decoder for its schema."""

    engine: Engine
    decoder: Decoder
    seconds: Mapping[Mode, float]  # one run of each mode took this long in the warm-up


class Models:
    """The model in service, if any. `current` is read once a request: a swap never splits one."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.limits = Limits(settings.max_candidates, settings.max_history)
        self.bare = Decoder(None, self.limits)  # while there is no model
        self.current: Model | None = None
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.reason: str | None = None  # of a failure, without paths

    async def load(self) -> None:
        """Load and warm up in a thread, then swap. Only StartRefused is raised, the rest kept."""
        try:
            model = await asyncio.to_thread(load_model, self._settings, self.limits)
        except StartRefused as error:
            self._failed(error)
            raise
        except Exception as error:  # any fault of a bundle leaves what was there serving
            self._failed(error)
            return
        self._swap(model)

    def _swap(self, model: Model) -> None:
        engine = model.engine
        schema = engine.schema
        names = {f.name for f in (*schema.user, *schema.item, *schema.context)}
        created = engine.bundle.manifest.created_seconds()
        self._metrics.serving(engine.name, engine.version, created, names)
        self._metrics.reload.labels("success").inc()
        self.current, self.state, self.reason = model, "ready", None
        logs.event("model_loaded", name=engine.name, version=engine.version)

    def _failed(self, error: Exception) -> None:
        self.state, self.reason = "failed", _without_paths(error)
        self._metrics.reload.labels("failure").inc()
        logs.event("model_refused", 40, reason=self.reason)


def load_model(settings: Settings, limits: Limits) -> Model:
    """Verify, load and replay; raises PsadError or what the runtime raises."""
    engine = Engine(resolve(settings.bundle), settings.device)
    seconds = replay(engine, Decoder(engine.schema, _UNLIMITED))
    return Model(engine, Decoder(engine.schema, limits), seconds)


def _without_paths(error: Exception) -> str:
    """The message for /info: file names stay, folders go."""
    text = str(error) if isinstance(error, PsadError) else f"{type(error).__name__}: {error}"
    return re.sub(r"[^\s'\"(]*[/\\]", "", text)[:300]
