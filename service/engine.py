"""One loaded bundle: encode, score, order. The last three of the four verbs.

"scorer" orders candidates by one score each; "generator" puts together a list of T places, after
which the others follow as they came. M candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from features.bundle import SLOWER, Bundle
from features.encode import Arrays, Counts, Encoder, Request
from features.errors import BundleError
from features.runtime import refuse_telemetry
from service.errors import MODES, Fallback, Mode, StartRefused
from service.onnx_file import refuse_ways_out

if TYPE_CHECKING:
    from collections.abc import Callable

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

OUTPUT: Final = "scores"
GENERATED: Final = ("list", "chances", "worth")
_PROVIDERS: Final = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}


class NonFinite(Fallback):
    """The model gave `count` scores that are not finite."""

    def __init__(self, count: int) -> None:
        super().__init__("nonfinite")
        self.count = count


@dataclass(frozen=True, slots=True)
class Scored:
    """An order and what it took: seconds of encoding, scoring and ordering."""

    order: Int64  # (M,) places in the request, best first
    chances: Float64  # (M,), or of the first so many of them: 0..1, in that order
    counts: Counts
    encode: float
    score: float
    ordering: float


@dataclass(frozen=True, slots=True)
class Generated:
    """A list as the generator gave it."""

    places: Int64  # (≤ T,) in the request
    chances: Float64  # (≤ T,) of each being clicked there
    worth: float


class Engine:
    """Safe to share between threads; nothing in it changes after construction."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        self.bundle, self.schema = bundle, bundle.schema
        self.name, self.version = bundle.manifest.name, bundle.manifest.version
        self._encoder = Encoder(bundle.schema, bundle.catalogue)
        self._session = _session(str(bundle.scorer), device)
        self._check_tensors(self._session, bundle.scorer.name, (OUTPUT,))
        self._generator = None
        if bundle.generator is not None:
            self._generator = _session(str(bundle.generator), device)
            self._check_tensors(self._generator, bundle.generator.name, GENERATED)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What requests may ask for."""
        return MODES if self._generator is not None else ("scorer",)

    def _check_tensors(self, session: Any, name: str, outputs: tuple[str, ...]) -> None:
        found = {one.name for one in session.get_inputs()}
        expected = {spec.name for spec in self.schema.tensors()}
        if found != expected:
            odd = ", ".join(sorted(found ^ expected))
            raise BundleError(f"{name} and schema.json differ in the inputs {odd}: export again.")
        if missing := set(outputs) - {one.name for one in session.get_outputs()}:
            raise BundleError(f"{name} has no output {min(missing)!r}: export again.")

    def encode(self, request: Request) -> tuple[Arrays, Counts]:
        """Arrays of one request (B = 1); raises ValueRefused naming the field."""
        return self._encoder.encode_request(request)

    def logits(self, arrays: Arrays, count: int) -> Float64:
        """(M,) scores before the sigmoid, of the first `count` candidates."""
        (scores,) = self._session.run([OUTPUT], arrays)
        return np.asarray(scores[0, :count], np.float64)

    def generated(self, arrays: Arrays, count: int) -> Generated:
        """The list that the generator makes of the first `count` candidates."""
        assert self._generator is not None, "callers look at `modes` first"
        places, chances, worth = self._generator.run(list(GENERATED), arrays)
        filled = min(count, places.shape[1])
        chosen = np.asarray(places[0, :filled], np.int64)
        return Generated(chosen, np.asarray(chances[0, :filled], np.float64), float(worth[0]))

    def rerank(self, request: Request, mode: Mode = "scorer") -> Scored:
        """All three verbs. Raises ValueRefused, NonFinite, or what the runtime raises."""
        begun, count = perf_counter(), len(request.candidates.ids)
        arrays, counts = self.encode(request)
        encoded = perf_counter()
        if mode == "generator":
            found = self.generated(arrays, count)
            scored = perf_counter()
            _refuse_nonfinite(found.chances, found.worth)
            order, chances = completed(found.places, count), found.chances
        else:
            logits = self.logits(arrays, count)
            scored = perf_counter()
            _refuse_nonfinite(logits)
            order = best_first(logits)
            chances = sigmoid(logits[order])
        return Scored(order, chances, counts, encoded - begun, scored - encoded,
                      perf_counter() - scored)  # fmt: skip


def _refuse_nonfinite(*values: Float64 | float) -> None:
    if odd := sum(int(np.count_nonzero(~np.isfinite(one))) for one in values):
        raise NonFinite(odd)


def completed(places: Int64, count: int) -> Int64:
    """(M,) a generated list, then what it leaves out as it came; raises ValueError where it is
    none."""
    left_out = np.ones(count, np.bool_)
    left_out[places] = False  # an IndexError where it is beyond them
    order = np.concatenate([places, np.flatnonzero(left_out)])
    if len(order) != count or (places < 0).any():
        raise ValueError("the generator repeats an item or leaves a place empty")
    return order


def best_first(logits: Float64) -> Int64:
    """(M,) places by falling logit; equal ones keep their incoming order."""
    return np.argsort(-logits, kind="stable")


def sigmoid(logits: Float64) -> Float64:
    """1 / (1 + exp(-x)) in float64, without overflow at either end."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


_TAU_ITEMS: Final = 64


def kendall_tau(order: Int64) -> float:
    """Agreement of an order with the incoming one, in -1..1; of 64 evenly spaced places at most."""
    count = len(order)
    if count > _TAU_ITEMS:
        order = order[np.linspace(0, count - 1, _TAU_ITEMS).astype(np.int64)]
        count = _TAU_ITEMS
    rising = np.count_nonzero(np.triu(order[:, None] < order[None, :], 1))
    return 4.0 * rising / (count * (count - 1)) - 1.0 if count > 1 else 1.0


def _session(path: str, device: str) -> Any:
    """A session of one thread, that does not spin, on the device asked for or not at all."""
    runtime = check_runtime(device)
    refuse_ways_out(Path(path))  # the runtime would open what the file names
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    wanted = _PROVIDERS[device]
    slower = list(SLOWER) if device == "cpu" else []
    session = runtime.InferenceSession(path, options, providers=wanted, disabled_optimizers=slower)
    _refuse_absent(device, session.get_providers())  # a driver may be missing all the same
    return session


def _refuse_absent(device: str, providers: list[str]) -> None:
    wanted = _PROVIDERS[device][0]
    if wanted not in providers:
        raise StartRefused(
            f"device {device} was asked for, but ONNX Runtime offers {', '.join(providers)}. "
            "Install the extra psad[gpu] and a driver, or set RERANK_DEVICE=cpu."
        )


def check_runtime(device: str) -> Any:
    """onnxruntime; raises StartRefused where it, or the device, is not there.

    Imported late so that its absence can be said in a sentence, and its telemetry refused before.
    """
    refuse_two_runtimes()
    refuse_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise StartRefused(
            "ONNX Runtime is not installed: install the extra psad[cpu] or psad[gpu]."
        ) from error
    _refuse_absent(device, onnxruntime.get_available_providers())
    return onnxruntime


def refuse_two_runtimes(version: Callable[[str], str] = metadata.version) -> None:
    """Both distributions write the same package, and which of them wins is chance."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    if len(found) > 1:
        raise StartRefused(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite one another: "
            "uninstall both, then install one of the extras psad[cpu] and psad[gpu]."
        )
