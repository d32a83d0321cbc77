"""Which model serves: loads bundles off the event loop and holds the references to them.

The folder of bundles says what serves: its CURRENT is followed, so that every worker that looks at
one folder comes to the same versions. A version that does not pass is not served; what was there
before stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final, Literal

from features.bundle import MANIFEST, Bundle, resolve
from features.errors import BundleError, PsadError
from features.pointer import CURRENT, PARTS, Part, Pointer, Trial, Version, read_pointer
from features.publish import end_trial, named, publish, roll_back, try_beside
from service import logs
from service.decode import Decoder
from service.engine import Engine
from service.errors import Mode, StartRefused
from service.golden import replay
from service.grammar import Limits
from service.metrics import Metrics
from service.priority import yield_to_others
from service.settings import Settings

# golden requests are as long as training's lists, whatever callers are held to here
_UNLIMITED: Final = Limits(candidates=1_000_000, history=1_000_000)
_AGAIN_SECONDS: Final = 2.0  # after a fault that is no verdict on the bundle; twice as long each
_LONGEST_SECONDS: Final = 60.0  # … up to this

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

    def reads_as(self, other: Model) -> bool:
        """Whether a request decoded for the other is decoded for this one."""
        mine, theirs = (one.engine.bundle.manifest.fingerprint for one in (self, other))
        return mine == theirs


@dataclass(frozen=True, slots=True)
class Tried:
    """A model beside the one in service."""

    model: Model
    percent: float  # of the users, or for a shadow of the requests

    def has(self, user: str) -> bool:
        """Whether this user belongs to it: always the same ones, others for every version."""
        return share_of(user, self.model.version.manifest_sha256) < self.percent


def share_of(user: str, salt: str) -> float:
    """A user's place in 0..100, uniform over users; another salt draws anew."""
    digest = hashlib.sha256(f"{salt}/{user}".encode("utf-8", "surrogatepass")).digest()
    return 100.0 * int.from_bytes(digest[:8], "big") / 2**64


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
        self._in_memory = 1e6 * settings.in_memory_mb
        self._bundle = partial(Bundle.load, in_memory=self._in_memory)
        self.limits = Limits(settings.max_candidates, settings.max_history)
        self.bare = Decoder(None, self.limits)  # while there is no model
        self.current: Model | None = None
        self.previous: Model | None = None  # kept loaded: going back takes no time
        self.split: Tried | None = None
        self.shadow: Tried | None = None
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.refused: Refused | None = None  # the newest, until another version takes over
        self._seen: Stamp | None = None  # the pointer that was last acted upon
        self._again_at, self._pause = math.inf, _AGAIN_SECONDS  # after a fault that may pass
        self._turn = asyncio.Lock()  # one load at a time
        self._yielding = ThreadPoolExecutor(1, "load", yield_to_others)

    @property
    def reason(self) -> str | None:
        """Of a failure, where nothing serves."""
        return self.refused.reason if self.refused and self.state == "failed" else None

    @property
    def loaded(self) -> list[Model]:
        """All that are loaded, the one in service first."""
        beside = [tried.model for tried in (self.split, self.shadow) if tried]
        return [model for model in (self.current, self.previous, *beside) if model is not None]

    async def load(self) -> None:
        """Load and warm up in a thread, then swap. Only StartRefused is raised, the rest kept."""
        async with self._turn:
            self._seen = await asyncio.to_thread(_stamp, self._home)
            self._again_at = math.inf
            try:
                await self._follow()
            except StartRefused:
                raise
            except Exception as fault:  # no memory, no thread: nobody waits for this task
                self._not_loaded(None, fault)

    async def watch(self, seconds: float) -> None:
        """Follow the pointer for ever, looking at it this often."""
        while True:
            await asyncio.sleep(seconds)
            try:
                stamp = await asyncio.to_thread(_stamp, self._home)
                due = stamp != self._seen or monotonic() >= self._again_at
                if due and stamp is not None:
                    with contextlib.suppress(StartRefused):  # noted by `load`; what served goes on
                        await self.load()
            except Exception as fault:  # no memory, no thread: it looks again
                self._seen = None
                self._failed(None, fault)

    def close(self) -> None:
        """Let go of every model: FastAPI remembers endpoints, and with them what they hold."""
        self.current = self.previous = self.split = self.shadow = None
        self._yielding.shutdown(wait=False, cancel_futures=True)

    async def serve(self, version: str) -> Model:
        """Load a version, and publish it if it passes: every worker follows.

        Raises BundleError where there is none, where it does not pass, or where what is served is
        one version's folder; OSError where the pointer cannot be written.
        """
        async with self._turn:
            folder = self._folder(version)
            return await self._publish(lambda: self._bundle(folder), lambda: publish(folder))

    async def try_beside(self, part: Part, version: str, percent: float) -> Model:
        """Load a version, and try it beside the one in service; raises as `serve` does."""
        async with self._turn:
            folder = self._folder(version)
            model = self._kept(await asyncio.to_thread(named, folder))
            if model is None:
                model = await self._load(lambda: self._bundle(folder))
            await self._written(lambda: try_beside(folder, part, percent))
            self.refused = None
            self._beside(part, Tried(model, percent))
            return model

    async def end_trial(self, part: Part) -> None:
        """No split, or no shadow, any more; raises as `serve` does."""
        async with self._turn:
            self._must_follow()
            await self._written(lambda: end_trial(self._home, part))
            self.refused = None
            self._beside(part, None)

    async def back(self) -> Model:
        """Publish the version before this one again; raises as `serve` does."""
        async with self._turn:
            self._must_follow()
            previous = read_pointer(self._home).previous
            if previous is None:
                raise BundleError("there is no version to go back to")
            folder, digest = self._home / previous.version, previous.manifest_sha256
            return await self._publish(
                lambda: self._bundle(folder, digest), lambda: roll_back(self._home), previous
            )

    def _folder(self, version: str) -> Path:
        self._must_follow()
        folder = self._home / version
        if folder.parent != self._home or not (folder / MANIFEST).is_file():
            raise BundleError(f"there is no version {version!r}")
        return folder

    def _must_follow(self) -> None:
        if (self._home / MANIFEST).exists():
            raise BundleError("the service was given one version's folder, and serves that alone")

    async def _publish(
        self,
        bundle: Callable[[], Bundle],
        write: Callable[[], Pointer],
        known: Version | None = None,
    ) -> Model:
        """First the model, then the pointer, then the swap: what does not pass is not published."""
        model = self._kept(known)
        if model is None:
            model = await self._load(bundle)
        pointer = await self._written(write)
        self._swap(model)
        await self._follow_trials(pointer)
        return model

    async def _written(self, write: Callable[[], Pointer]) -> Pointer:
        """Change the pointer; where somebody changed it right after, it is looked at again."""
        pointer = await asyncio.to_thread(write)
        stamp = await asyncio.to_thread(_stamp, self._home)
        found = await asyncio.to_thread(_pointer, self._home)
        self._seen = stamp if found == pointer else None
        return pointer

    async def _follow(self) -> None:
        """Serve what the pointer names, if it passes."""
        version: Version | None = None
        try:
            pointer = await asyncio.to_thread(_pointer, self._home)
            version = pointer.named if pointer else None
            model = self._kept(version)
            if model is None:
                model = await self._load(lambda: resolve(self._home, self._in_memory))
        except StartRefused as error:
            self._failed(None, error)
            raise
        except Exception as error:  # any fault of a bundle leaves what was there serving
            self._not_loaded(version, error)
            return
        self._swap(model)
        await self._follow_trials(pointer)

    async def _follow_trials(self, pointer: Pointer | None) -> None:
        """One that does not pass is left out; what serves is not touched by it."""
        for part in PARTS:
            trial: Trial | None = getattr(pointer, part, None)
            tried = None
            if trial is not None:
                try:
                    tried = Tried(await self._tried(trial.named), trial.percent)
                except Exception as error:  # any fault of a bundle
                    self._not_loaded(trial, error)
            self._beside(part, tried)

    async def _tried(self, version: Version) -> Model:
        folder, digest = self._home / version.version, version.manifest_sha256
        model = self._kept(version)
        if model is None:
            model = await self._load(lambda: self._bundle(folder, digest))
        return model

    def _beside(self, part: Part, tried: Tried | None) -> None:
        before: Tried | None = getattr(self, part)
        if tried != before:
            version = tried.model.engine.version if tried else None
            if version is not None and part == "split":
                self._metrics.version.labels(version)
            logs.event(part, version=version, percent=tried.percent if tried else None)
        setattr(self, part, tried)

    def of(self, user: str | None, mode: Mode) -> Model | None:
        """Who answers this user: the version in service, or the split's where the user is its.

        A mode that the split's version has not is the other's.
        """
        if user is None or self.split is None or not self.split.has(user):
            return self.current
        return self.split.model if mode in self.split.model.engine.modes else self.current

    def _kept(self, version: Version | None) -> Model | None:
        """A model that is loaded already."""
        return next((model for model in self.loaded if model.version == version), None)

    async def _load(self, bundle: Callable[[], Bundle]) -> Model:
        """In a thread; in one that lets requests go first, once there are any to answer.

        Not for another device: its driver's threads would keep that for good.
        """
        behind = self.current is not None and self._settings.device == "cpu"
        thread = self._yielding if behind else None
        return await asyncio.get_running_loop().run_in_executor(thread, self._loaded, bundle)

    def _loaded(self, bundle: Callable[[], Bundle]) -> Model:
        """Verify, load and replay; raises BundleError or StartRefused, whatever is wrong."""
        try:
            engine = Engine(bundle(), self._settings.device)
            seconds = replay(engine, Decoder(engine.schema, _UNLIMITED))
        except (BundleError, StartRefused):
            raise
        except Exception as error:  # what the runtime raises has no kind in common
            raise BundleError(without_paths(error)) from error
        return Model(engine, Decoder(engine.schema, self.limits), seconds)

    def _swap(self, model: Model) -> None:
        self.refused = None
        if model is self.current:
            return
        self._pause = _AGAIN_SECONDS
        engine = model.engine
        schema = engine.schema
        names = {f.name for f in (*schema.user, *schema.item, *schema.context)}
        created = engine.bundle.manifest.created_seconds()
        self._metrics.serving(engine.name, engine.version, created, names)
        self._metrics.reload.labels("success").inc()
        for mode, seconds in model.seconds.items():
            self._learn(mode, seconds)
        self.current, self.previous = model, self.current
        self.state = "ready"
        logs.event("model_loaded", name=engine.name, version=engine.version)

    def _not_loaded(self, version: Version | None, error: Exception) -> None:
        """What is no verdict on the bundle is tried again, after ever longer pauses."""
        self._failed(version, error)
        if not isinstance(error, BundleError) or isinstance(error.__cause__, MemoryError | OSError):
            self._again_at = monotonic() + self._pause
            self._pause = min(2.0 * self._pause, _LONGEST_SECONDS)

    def _failed(self, version: Version | None, error: Exception) -> None:
        self.refused = Refused(version.version if version else None, without_paths(error))
        if self.current is None:
            self.state = "failed"
        self._metrics.reload.labels("failure").inc()
        logs.event("model_refused", 40, version=self.refused.version, reason=self.refused.reason)


def _pointer(home: Path) -> Pointer | None:
    """None where a version's own folder is served, or nothing."""
    if (home / MANIFEST).exists() or not (home / CURRENT).exists():
        return None
    return read_pointer(home)


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
