"""The training loop of every neural model.

AdamW with warm-up and cosine decay, moving average of weights, early stopping on the validation
NDCG@10 (or loss) of the averaged weights, a checkpoint an epoch. Devices, mixed precision and
distributed training are accelerate's. Everything random is drawn from (seed, epoch), so that a run
resumed from a checkpoint becomes the run that was interrupted.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from data.dataset import Dataset
from features.errors import PsadError
from features.files import write_whole
from model.batches import LengthBatches, training_batches
from model.config import Training
from model.evaluate import evaluate, load_batch
from model.ranker import Batch, NeuralRanker
from model.weights import save_weights

PROGRESS = "progress.jsonl"
CHECKPOINTS = "checkpoints"
OBSERVED_LISTS = 256  # validation lists on which a model's own figures are taken


class Diverged(PsadError):
    """A loss that is no longer a number."""


class _Loss(nn.Module):
    """The loss as a forward pass, which is what distributed training wraps."""

    def __init__(self, ranker: NeuralRanker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.ranker.loss(batch)


@dataclass
class _State:
    """What a checkpoint has to remember beyond weights and optimiser."""

    epoch: int = 0  # epochs done
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def fit_by_gradient(
    ranker: NeuralRanker,
    dataset: Dataset,
    folder: Path,
    *,
    training: Training,
    resume: bool = False,
) -> dict[str, Any]:
    """Train in place, ending with the best epoch's averaged weights; returns what to report.

    Writes weights, progress.jsonl and checkpoints/ into `folder`. Raises Diverged.
    """
    loop = Loop(ranker, dataset, folder, training)
    if resume:
        loop.resume()
    while loop.goes_on():
        loop.epoch()
    loop.accelerator.end_training()  # closes what writes for TensorBoard
    ranker.load(folder)
    state = loop.state
    return {
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "seconds": round(state.seconds, 2),
    }


class Loop:
    """One training run."""

    def __init__(
        self,
        ranker: NeuralRanker,
        dataset: Dataset,
        folder: Path,
        training: Training,
        cpu: bool = False,
    ) -> None:
        """`cpu` keeps it there, whatever else the machine has."""
        self.ranker, self.dataset, self.folder, self.training = ranker, dataset, folder, training
        self.state = _State()
        self.accelerator = Accelerator(
            cpu=cpu or not torch.accelerator.is_available(),
            mixed_precision=training.mixed_precision,
            # shares of equal length, some lists twice: a process that ran out would block the rest
            dataloader_config=DataLoaderConfiguration(even_batches=True),
            # a table of vectors that a schema leaves empty gets no gradient
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            log_with="tensorboard" if training.tensorboard else None,
            project_dir=folder,
        )
        if training.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        loader = training_batches(dataset, training.batch_size, training.seed)
        assert isinstance(loader.batch_sampler, LengthBatches)
        self.sampler = loader.batch_sampler
        optimiser = torch.optim.AdamW(
            _groups(ranker, training), lr=training.learning_rate, fused=True
        )
        self.loader: DataLoader[Any] = self.accelerator.prepare_data_loader(loader, False)
        self.steps = len(self.loader)  # of this process
        schedule = LambdaLR(optimiser, _shape(self.steps * training.epochs, training.warmup))
        self.model, self.optimiser = self.accelerator.prepare(_Loss(ranker), optimiser)
        self.schedule = schedule
        self.average = AveragedModel(
            ranker.to(self.accelerator.device),
            multi_avg_fn=_moving_average(training.average),
        )
        self.accelerator.register_for_checkpointing(self.state, self.average, self.schedule)

    @property
    def judged(self) -> NeuralRanker:
        """The weights that are validated and kept."""
        return self.average.module if self.training.average else self.ranker

    def goes_on(self) -> bool:
        """Whether another epoch is worth its time."""
        state = self.state
        return (
            state.epoch < self.training.epochs
            and state.epoch - state.best_epoch < self.training.patience
        )

    def epoch(self) -> None:
        """One pass over the training lists, its validation, its record and its checkpoint."""
        began = time.perf_counter()
        self.sampler.epoch = self.state.epoch
        # every process, and every resumed run, draws what this epoch of this seed draws
        set_seed((self.training.seed * 1000 + self.state.epoch) % 2**31, device_specific=True)
        losses = self._train()
        self.state.epoch += 1
        record = {"epoch": self.state.epoch, **losses, **self._validate()}
        record["learning_rate"] = self.schedule.get_last_lr()[0]
        record["seconds"] = round(time.perf_counter() - began, 2)
        self.state.seconds += record["seconds"]
        self._keep(record)

    def _train(self) -> dict[str, float]:
        """Mean of each loss term over the epoch."""
        self.model.train()
        sums: dict[str, float] = {}
        total = self.steps * self.training.epochs
        for step, batch in enumerate(self._bar()):
            self.ranker.on_progress((self.state.epoch * self.steps + step) / total)
            terms = self.step(batch.to(self.accelerator.device))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
        return {f"loss_{name}": round(value / self.steps, 6) for name, value in sums.items()}

    def step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward, update; each loss term. Raises Diverged."""
        with self.accelerator.autocast():
            terms = self.model(batch)
        stacked = torch.stack(list(terms.values()))
        values = dict(zip(terms, stacked.tolist(), strict=True))  # one wait for the device
        if not math.isfinite(sum(values.values())):
            raise Diverged(
                f"the loss became {values} in epoch {self.state.epoch + 1}. Lower learning_rate "
                f"(now {self.training.learning_rate}), or look for extreme values in the data."
            )
        self.accelerator.backward(stacked.sum())
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.training.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.schedule.step()
        if self.training.average:
            self.average.update_parameters(self.ranker)
        return values

    def _bar(self) -> Iterator[Batch]:
        state = self.state
        title = f"epoch {state.epoch + 1}/{self.training.epochs}"
        with tqdm(
            self.loader, total=self.steps, desc=title, leave=False, dynamic_ncols=True,
            disable=None if self.accelerator.is_main_process else True,  # None: only on a terminal
        ) as bar:  # fmt: skip
            if state.history:
                bar.set_postfix(_short(state.history[-1]))
            yield from bar

    def _validate(self) -> dict[str, float]:
        """Validation NDCG@10 of each way the model ranks, and the model's own figures."""
        judged = self.judged
        judged.eval()
        modes = ways(judged)
        record = {
            f"ndcg_{mode}": evaluate(judged, self.dataset, "valid", mode=mode).mean("ndcg@10")
            for mode in modes
        }
        record = {name: round(value, 6) for name, value in record.items()}
        record["valid"] = record[f"ndcg_{modes[0]}"]
        if self.training.select == "loss":
            record["loss_valid"] = round(self._validation_loss(), 6)
            record["valid"] = -record["loss_valid"]
        some = load_batch(self.dataset, self.dataset.splits["valid"][:OBSERVED_LISTS])
        observed = judged.observe(some.to(self.accelerator.device))
        return record | {name: round(value, 6) for name, value in observed.items()}

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean over the validation lists; no two epochs see others."""
        lists, total = self.dataset.splits["valid"], 0.0
        for start in range(0, len(lists), self.training.batch_size):
            some = lists[start : start + self.training.batch_size]
            batch = load_batch(self.dataset, some).to(self.accelerator.device)
            total += float(self.judged.validation_loss(batch)) * len(some)
        return total / max(len(lists), 1)

    def _keep(self, record: dict[str, Any]) -> None:
        """Remember the best weights, write the record, then the checkpoint that includes both."""
        state = self.state
        state.history.append(record)
        if record["valid"] > state.best:
            state.best, state.best_epoch = record["valid"], state.epoch
            if self.accelerator.is_main_process:
                save_weights(self.judged, self.folder)
        if self.accelerator.is_main_process:
            lines = "".join(json.dumps(one) + "\n" for one in state.history)
            write_whole(self.folder / PROGRESS, lines)
        self.accelerator.log(record, step=state.epoch)
        self._checkpoint()
        of = f"epoch {state.epoch:3d}/{self.training.epochs}"
        self.accelerator.print(f"{of}  {_line(record, state.best_epoch)}")

    def _checkpoint(self) -> None:
        """Written beside, then renamed; the one before goes only when it stands."""
        folder = self.folder / CHECKPOINTS
        name, temporary = f"epoch-{self.state.epoch:04d}", folder / "writing"
        if self.accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()  # each process writes a part of its own
        if self.accelerator.is_main_process:
            temporary.rename(folder / name)
            for old in folder.glob("epoch-*"):
                if old.name != name:
                    shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Go on from the last whole checkpoint, or from the beginning where there is none."""
        found = sorted((self.folder / CHECKPOINTS).glob("epoch-*"))
        if found:
            self.accelerator.load_state(str(found[-1]))
            self.accelerator.print(f"resuming after epoch {self.state.epoch}")


def ways(ranker: NeuralRanker) -> list[Any]:
    """The modes a model can be judged in; the first decides when training stops."""
    generates = getattr(ranker, "generates", False)
    scores = getattr(ranker, "student", True) is not None
    return (["scorer"] if scores else []) + (["generator"] if generates else [])


def _groups(ranker: nn.Module, training: Training) -> list[dict[str, Any]]:
    """Weight decay by kind: vectors of ids much, matrices some, biases and norms none."""
    groups: dict[float, list[nn.Parameter]] = {}
    for module in ranker.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decay = training.weight_decay if parameter.ndim > 1 and name == "weight" else 0.0
            if isinstance(module, nn.Embedding):
                decay = training.embedding_weight_decay
            groups.setdefault(decay, []).append(parameter)
    return [{"params": found, "weight_decay": decay} for decay, found in groups.items()]


def _moving_average(most: float) -> Any:
    """Averaging that forgets the first weights fast: its memory grows with the steps taken."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, steps: Tensor) -> None:
        taken = float(steps)
        torch._foreach_lerp_(averaged, current, 1.0 - min(most, (1.0 + taken) / (10.0 + taken)))

    return update


def _shape(steps: int, warmup: float) -> Any:
    """Learning rate by step: linear warm-up, then half a cosine down to a twentieth."""
    rising = max(int(steps * warmup), 1)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(steps - rising, 1)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return at


def _short(record: dict[str, Any]) -> dict[str, str]:
    return {"valid": f"{record['valid']:.4f}"}


def _line(record: dict[str, Any], best: int) -> str:
    losses = "  ".join(f"{k[5:]} {v:.4f}" for k, v in record.items() if k.startswith("loss_"))
    quality = "  ".join(
        f"{k[5:]} NDCG@10 {v:.4f}" for k, v in record.items() if k.startswith("ndcg_")
    )
    mark = "  *" if record["epoch"] == best else ""
    return f"{losses}  |  {quality}  {record['seconds']:.1f} s{mark}"
