"""One loaded bundle: encode, score, order. The last three of the four verbs.

M candidates, T the length of the list that is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from features.bundle import Bundle
from features.encode import Arrays, Counts, Encoder, Request
from features.errors import BundleError
from service.errors import Fallback, StartRefused

if TYPE_CHECKING:
    from collections.abc import Callable

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

OUTPUT: Final = "scores"
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
    logits: Float64  # (M,) in incoming order
    counts: Counts
    encode: float
    score: float
    ordering: float


class Engine:
    """Safe to share between threads; nothing in it changes after construction."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        self.bundle, self.schema = bundle, bundle.schema
        self.name, self.version = bundle.manifest.name, bundle.manifest.version
        self._encoder = Encoder(bundle.schema, bundle.catalogue)
        self._session = _session(str(bundle.scorer), device)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self._check_tensors()

    @property
    def has_generator(self) -> bool:
        """Whether requests may ask for mode "generator"; no engine here runs one yet."""
        return False

    def _check_tensors(self) -> None:
        found = {one.name for one in self._session.get_inputs()}
        expected = {spec.name for spec in self.schema.tensors()}
        if found != expected:
            odd = ", ".join(sorted(found ^ expected))
            raise BundleError(
                f"scorer.onnx and schema.json differ in the inputs {odd}: export again."
            )
        if OUTPUT not in {one.name for one in self._session.get_outputs()}:
            raise BundleError(f"scorer.onnx has no output {OUTPUT!r}: export again.")

    def encode(self, request: Request) -> tuple[Arrays, Counts]:
        """Arrays of one request (B = 1); raises ValueRefused naming the field."""
        return self._encoder.encode_request(request)

    def logits(self, arrays: Arrays, count: int) -> Float64:
        """(M,) scores before the sigmoid, of the first `count` candidates."""
        (scores,) = self._session.run([OUTPUT], arrays)
        return np.asarray(scores[0, :count], np.float64)

    def rerank(self, request: Request) -> Scored:
        """All three verbs. Raises ValueRefused, NonFinite, or what the runtime raises."""
        begun = perf_counter()
        arrays, counts = self.encode(request)
        encoded = perf_counter()
        logits = self.logits(arrays, len(request.candidates.ids))
        scored = perf_counter()
        if odd := int(np.count_nonzero(~np.isfinite(logits))):
            raise NonFinite(odd)
        order = best_first(logits)
        return Scored(order, logits, counts, encoded - begun, scored - encoded,
                      perf_counter() - scored)  # fmt: skip


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
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    wanted = _PROVIDERS[device]
    session = runtime.InferenceSession(path, options, providers=wanted)
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

    Imported late so that its absence can be said in a sentence.
    """
    refuse_two_runtimes()
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
