"""How long a training step takes, by part, and what each quickened part would take plainly.

    OMP_NUM_THREADS=1 python -m benchmarks.training DATASET [MODEL]

The first table is the mean over the batches of half an epoch, each the best of five rounds (other
work on the machine only ever adds time). The second sets pairs that compute the same side by side:
plain and quick take turns, so that both see the same machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.dataset import Dataset
from model import registry
from model.config import Training
from model.embed import FeatureEmbedding
from model.evaluate import evaluate
from model.fit import Loop
from model.layers import Dropout
from model.ranker import NEVER, Batch, NeuralRanker

ROUNDS, WIDTH, HEADS = 5, 64, 4
EARLIER_BATCH_SIZE = 512  # of an evaluation, in the order of the split

Call = Callable[[], object]


def seconds(call: Call) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def best(*calls: Call, rounds: int = 4 * ROUNDS) -> list[float]:
    """Best milliseconds of each call, taken in turn."""
    times = [[seconds(call) for call in calls] for _ in range(rounds)]
    return [1000 * min(column) for column in zip(*times, strict=True)]


def parts(loop: Any) -> dict[str, float]:
    """Milliseconds a step by part; `other` is the rest of the step."""
    batches = list(islice(loop.loader, max(loop.steps // 2, 1)))
    least: defaultdict[str, list[float]] = defaultdict(lambda: [float("inf")] * len(batches))
    clock = _watch(loop)
    loop.model.train()
    for _ in range(ROUNDS):
        for place, batch in enumerate(batches):
            clock.clear()
            clock["step"] = seconds(lambda batch=batch: loop.step(batch))
            clock["other"] = 2 * clock["step"] - sum(clock.values())
            for name, taken in clock.items():
                least[name][place] = min(least[name][place], taken)
    found = {name: 1000 * sum(taken) / len(batches) for name, taken in least.items()}
    encode = best(lambda: list(loop.loader), rounds=ROUNDS)[0] / loop.steps
    return {"encode (before the step)": encode} | found


def _watch(loop: Any) -> dict[str, float]:
    """Seconds that the parts of the last step took, kept up to date."""
    clock: dict[str, float] = {}

    def watch(owner: Any, name: str, label: str) -> None:
        plain = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return plain(*arguments, **named)
            finally:
                clock[label] = time.perf_counter() - start

        setattr(owner, name, timed)

    watch(loop.ranker, "loss", "forward and loss")
    watch(loop.accelerator, "backward", "backward")
    watch(loop.accelerator, "clip_grad_norm_", "clip")
    watch(loop.optimiser, "step", "optimiser")
    watch(loop.average, "update_parameters", "average")
    return clock


def pairs(ranker: NeuralRanker, dataset: Dataset, batch: Batch) -> dict[str, list[float]]:
    """Milliseconds [plain, quick] of what computes the same; forward and backward."""
    embedding = FeatureEmbedding(dataset.schema, 8).items
    bags = batch.tensors.get("candidate_bag")
    x = torch.randn(*batch.candidate_mask.shape, WIDTH, requires_grad=True)
    plain, quick = nn.Dropout(0.2), Dropout(0.2)
    found = {
        "dropout": best(lambda: _both(plain(x)), lambda: _both(quick(x))),
        "attention": best(*_attentions(batch.candidate_mask)),
        "AdamW": best(*(_adam(fused) for fused in (False, True))),
        "evaluate": best(
            lambda: _unsorted(ranker, dataset),
            lambda: evaluate(ranker, dataset, "valid"),
            rounds=ROUNDS,
        ),
    }
    if bags is None:
        return found
    return found | {
        "bags": best(
            lambda: _both(embedding._bag_padded(bags)), lambda: _both(embedding._bag_filled(bags))
        )
    }


def _both(result: Tensor) -> None:
    result.sum().backward()


def _attentions(mask: Tensor) -> tuple[Call, Call]:
    lists, count = mask.shape
    q, k, v = torch.randn(3, lists, HEADS, count, WIDTH // HEADS).requires_grad_()
    allowed = mask[:, None, None]
    shift = torch.where(allowed, 0.0, NEVER)

    def plain() -> None:
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        _both(logits.masked_fill(~allowed, NEVER).softmax(-1) @ v)

    return plain, lambda: _both(functional.scaled_dot_product_attention(q, k, v, shift))


def _adam(fused: bool) -> Call:
    """A step over 80 matrices, about what the default model has."""
    weights = [nn.Parameter(torch.randn(WIDTH, WIDTH)) for _ in range(80)]
    for one in weights:
        one.grad = torch.randn_like(one)
    return torch.optim.AdamW(weights, fused=fused).step


def _unsorted(ranker: NeuralRanker, dataset: Dataset) -> None:
    """The scores of the validation lists in their own order, in large batches."""
    lists = torch.from_numpy(dataset.splits["valid"])
    with torch.inference_mode():
        for some in lists.split(EARLIER_BATCH_SIZE):
            ranker.scores(Batch.from_arrays(*dataset.batch(some.numpy())))


def main(folder: str, model: str = "psad") -> None:
    """Print both tables."""
    dataset, module = Dataset.load(Path(folder)), registry.find(model)
    ranker = module.Ranker(dataset.schema, module.Config())
    with tempfile.TemporaryDirectory() as run:
        loop = Loop(ranker, dataset, Path(run), Training(), cpu=True)
        batch = next(iter(loop.loader))
        for name, taken in parts(loop).items():
            print(f"{name:26} {taken:8.2f} ms")
        ranker.eval()
        for name, (plain, quick) in pairs(ranker, dataset, batch).items():
            print(f"{name:10} {plain:8.2f} → {quick:8.2f} ms, {plain / quick:4.1f} times")


if __name__ == "__main__":
    torch.manual_seed(0)
    main(*sys.argv[1:])
