"""Which model serves: loads bundles off the event loop and holds the references to them.

The folder of bundles says what serves: its CURRENT is followed, so that every worker that looks at
one folder comes to the same version. A version that does not pass is not served; the one before
stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from features.bundle import MANIFEST, Bundle, publish, resolve, roll_back
from features.errors import BundleError, PsadError
from features.pointer import CURRENT, Version, read_pointer
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

Learn = Callable[[Mode, float], None]
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Model:
    """An engine that passed its golden requests, with the decoder for its schema."""

    engine: Engine
    decoder: Decoder
    seconds: Mapping[Mode, float]  # one run of each mode took this long in the warm-up

    @property
    def version(self) -> Version:
        """As it is published."""
        bundle = self.engine.bundle
        return Version(version=bundle.folder.name, manifest_sha256=bundle.digest)


@dataclass(frozen=True, slots=True)
class Refused:
    """A version that did not pass."""

    version: str | None  # None where not even the pointer could be read
    reason: str  # without paths


class Models:
    """The model in service, if any. `current` is read once a request: a swap never splits one.

    `learn` is told how long a run of each mode took whenever a model takes over.
    """

    def __init__(self, settings: Settings, metrics: Metrics, learn: Learn) -> None:
        self._settings, self._metrics, self._learn = settings, metrics, learn
        self._home = settings.bundle
        self.limits = Limits(settings.max_candidates, settings.max_history)
        self.bare = Decoder(None, self.limits)  # while there is no model
        self.current: Model | None = None
        self.previous: Model | None = None  # kept loaded: going back takes no time
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.refused: Refused | None = None  # the newest, until another version takes over
        self._seen: Stamp | None = None  # the pointer that was last acted upon
        self._turn = asyncio.Lock()  # one load at a time

    @property
    def reason(self) -> str | None:
        """Of a failure, where nothing serves."""
        return self.refused.reason if self.refused and self.state == "failed" else None

    async def load(self) -> None:
        """Load and warm up in a thread, then swap. Only StartRefused is raised, the rest kept."""
        async with self._turn:
            self._seen = await asyncio.to_thread(_stamp, self._home)
            await self._follow()

    async def watch(self, seconds: float) -> None:
        """Follow the pointer for ever, looking at it this often."""
        while True:
            await asyncio.sleep(seconds)
            stamp = await asyncio.to_thread(_stamp, self._home)
            if stamp != self._seen and stamp is not None:
                with contextlib.suppress(StartRefused):  # noted by `load`; what served goes on
                    await self.load()

    async def serve(self, version: str) -> Model:
        """Load a version, and publish it if it passes: every worker follows.

        Raises BundleError where there is none, where it does not pass, or where what is served is
        one version's folder; OSError where the pointer cannot be written.
        """
        async with self._turn:
            self._must_follow()
            folder = self._home / version
            if folder.parent != self._home or not (folder / MANIFEST).is_file():
                raise BundleError(f"there is no version {version!r}")
            return await self._publish(lambda: Bundle.load(folder), lambda: publish(folder))

    async def back(self) -> Model:
        """Publish the version before this one again; raises as `serve` does."""
        async with self._turn:
            self._must_follow()
            previous = read_pointer(self._home).previous
            if previous is None:
                raise BundleError("there is no version to go back to")
            folder, digest = self._home / previous.version, previous.manifest_sha256
            return await self._publish(
                lambda: Bundle.load(folder, digest), lambda: roll_back(self._home), previous
            )

    def _must_follow(self) -> None:
        if (self._home / MANIFEST).exists():
            raise BundleError("the service was given one version's folder, and serves that alone")

    async def _publish(
        self,
        bundle: Callable[[], Bundle],
        write: Callable[[], object],
        known: Version | None = None,
    ) -> Model:
        """First the model, then the pointer, then the swap: what does not pass is not published."""
        model = self._kept(known)
        if model is None:
            model = await asyncio.to_thread(self._loaded, bundle)
        await asyncio.to_thread(write)
        self._seen = await asyncio.to_thread(_stamp, self._home)
        self._swap(model)
        return model

    async def _follow(self) -> None:
        """Serve what the pointer names, if it passes."""
        version: Version | None = None
        try:
            version = await asyncio.to_thread(_named, self._home)
            if version is not None and self.current and self.current.version == version:
                return
            model = self._kept(version)
            if model is None:
                model = await asyncio.to_thread(self._loaded, lambda: resolve(self._home))
        except StartRefused as error:
            self._failed(None, error)
            raise
        except Exception as error:  # any fault of a bundle leaves what was there serving
            self._failed(version, error)
            return
        self._swap(model)

    def _kept(self, version: Version | None) -> Model | None:
        """A model that is loaded already."""
        for model in (self.current, self.previous):
            if version is not None and model is not None and model.version == version:
                return model
        return None

    def _loaded(self, bundle: Callable[[], Bundle]) -> Model:
        """Verify, load and replay; raises PsadError or what the runtime raises."""
        engine = Engine(bundle(), self._settings.device)
        seconds = replay(engine, Decoder(engine.schema, _UNLIMITED))
        return Model(engine, Decoder(engine.schema, self.limits), seconds)

    def _swap(self, model: Model) -> None:
        if model is self.current:
            return
        engine = model.engine
        schema = engine.schema
        names = {f.name for f in (*schema.user, *schema.item, *schema.context)}
        created = engine.bundle.manifest.created_seconds()
        self._metrics.serving(engine.name, engine.version, created, names)
        self._metrics.reload.labels("success").inc()
        for mode, seconds in model.seconds.items():
            self._learn(mode, seconds)
        self.current, self.previous = model, self.current
        self.state, self.refused = "ready", None
        logs.event("model_loaded", name=engine.name, version=engine.version)

    def _failed(self, version: Version | None, error: Exception) -> None:
        self.refused = Refused(version.version if version else None, without_paths(error))
        if self.current is None:
            self.state = "failed"
        self._metrics.reload.labels("failure").inc()
        logs.event("model_refused", 40, version=self.refused.version, reason=self.refused.reason)


def _named(home: Path) -> Version | None:
    """What the pointer names; None where a version's own folder is served."""
    if (home / MANIFEST).exists() or not (home / CURRENT).exists():
        return None
    pointer = read_pointer(home)
    return Version(version=pointer.version, manifest_sha256=pointer.manifest_sha256)


def _stamp(home: Path) -> Stamp | None:
    """Tells one state of the pointer from another; None where there is nothing to serve."""
    for name in (CURRENT, MANIFEST):
        try:
            found = (home / name).stat()
        except OSError:
            continue
        return found.st_mtime_ns, found.st_ino, found.st_size
    return None


def without_paths(error: Exception) -> str:
    """The message for whoever asks over HTTP: file names stay, folders go."""
    text = str(error) if isinstance(error, PsadError) else f"{type(error).__name__}: {error}"
    return re.sub(r"[^\s'\"(]*[/\\]", "", text)[:300]
