"""LambdaMART: boosted trees on the candidates' features; what a user would pick instead.

LightGBM's lambdarank (in the extra `baselines`) on the flat table of model/flat.py: all that the
other models read, save ids with many values. The in-list features (rank within the list and so on)
are among the derived statistics. Early stopping on NDCG@10 of valid.

    psad train DATASET RUN --model lambdamart

B lists, M candidates, n = ΣM rows of the table, F columns.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from features.errors import PsadError
from features.files import write_whole
from features.schema import FeatureSchema
from model.flat import columns, flatten
from model.ranker import Batch
from model.ranker import Ranker as BaseRanker

if TYPE_CHECKING:
    from data.dataset import Dataset

FILE = "lambdamart.txt"  # LightGBM's own text format, in the run folder
LISTS_AT_A_TIME = 4096


class LambdaMARTError(PsadError):
    """LightGBM is not installed, or a run's trees cannot be read."""


class Config(BaseModel):
    """Chosen on valid, two seeds: ML-100K among 50 random settings, RankLens among 12."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(default=2000, ge=1)  # at most
    patience: int = Field(default=150, ge=1)  # trees without a better valid NDCG@10
    learning_rate: float = Field(default=0.03, gt=0)
    leaves: int = Field(default=15, ge=2)  # of one tree
    min_rows: int = Field(default=100, ge=1)  # in a leaf
    row_share: float = Field(default=0.8, gt=0, le=1)  # of the rows a tree sees
    column_share: float = Field(default=0.5, gt=0, le=1)  # of the columns a tree sees
    l2: float = Field(default=10.0, ge=0)
    truncation: int = Field(default=30, ge=1)  # pairs count that touch the first so many places
    max_values: int = Field(default=200, ge=0)  # a category with more is an id: left out
    max_bag: int = Field(default=64, ge=0)  # a bag with more becomes the count of its values
    threads: int = Field(default=0, ge=0)  # 0: all cores; the trees are the same either way

    def parameters(self, seed: int) -> dict[str, Any]:
        """The same in LightGBM's names."""
        return {
            "objective": "lambdarank",
            "lambdarank_truncation_level": self.truncation,
            "metric": "ndcg",
            "eval_at": [10],
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "feature_fraction": self.column_share,
            "lambda_l2": self.l2,
            "num_threads": self.threads,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


class Ranker(BaseRanker):
    """Boosted trees with `scores` in the common shape."""

    trains_by_gradient = False
    library = "LightGBM"

    def __init__(self, schema: FeatureSchema, config: Config) -> None:
        _lightgbm()
        self.schema, self.config = schema, config
        self.columns = columns(schema, config.max_values, config.max_bag)
        self._booster: Any = None

    def fit(self, dataset: Dataset, folder: Path, **options: Any) -> dict[str, Any]:
        """Grow trees on train until valid NDCG@10 stops rising. Of `training` it reads the seed."""
        lightgbm, began = _lightgbm(), time.perf_counter()
        seed = options["training"].seed if "training" in options else 0
        train, valid = (self._table(dataset, split) for split in ("train", "valid"))
        codes = [place for place, column in enumerate(self.columns) if column.categorical]
        learned = lightgbm.Dataset(
            train.values, train.labels, group=train.lengths, categorical_feature=codes
        )
        judged = learned.create_valid(valid.values, valid.labels, group=valid.lengths)
        grown = lightgbm.train(
            self.config.parameters(seed),
            learned,
            num_boost_round=self.config.trees,
            valid_sets=[judged],
            valid_names=["valid"],
            callbacks=[lightgbm.early_stopping(self.config.patience, verbose=False)],
        )
        text = grown.model_to_string(num_iteration=grown.best_iteration)
        self._booster = lightgbm.Booster(model_str=text)
        return {"trees": grown.best_iteration, "seconds": round(time.perf_counter() - began, 2)}

    def size(self) -> int:
        """Leaves of all trees: what this model has for parameters."""
        return sum(tree["num_leaves"] for tree in self._booster.dump_model()["tree_info"])

    def importance(self) -> dict[str, float]:
        """Gain of each column over all splits, largest first."""
        gains = self._booster.feature_importance("gain")
        names = [f"{column.owner}.{column.name}" for column in self.columns]
        return dict(sorted(zip(names, gains.tolist(), strict=True), key=lambda item: -item[1]))

    def scores(self, batch: Batch) -> Tensor:
        """(B, M) the sum over trees, -inf at padding."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in batch.tensors.items()}
        mask = arrays["candidate_mask"]
        found = np.full(mask.shape, -np.inf, np.float32)
        if mask.any():
            found[mask] = self._booster.predict(flatten(arrays, self.columns), raw_score=True)
        return torch.from_numpy(found)

    def save(self, folder: Path) -> None:
        """Write the trees as text."""
        write_whole(folder / FILE, self._booster.model_to_string())

    def load(self, folder: Path) -> None:
        """Read the trees. Raises LambdaMARTError where they are no trees, or of another schema."""
        lightgbm, path = _lightgbm(), folder / FILE
        try:
            booster = lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
            raise LambdaMARTError(
                f"{path} cannot be read ({error}); run `psad train` again."
            ) from error
        if booster.num_feature() != len(self.columns):
            raise LambdaMARTError(
                f"{path} reads {booster.num_feature()} columns, and this schema gives "
                f"{len(self.columns)}; train again on this dataset."
            )
        self._booster = booster

    def _table(self, dataset: Dataset, split: str) -> _Table:
        """All lists of a split; encoded a few thousand at a time."""
        indexes, parts = np.asarray(dataset.splits[split]), []
        for start in range(0, len(indexes), LISTS_AT_A_TIME):
            arrays, labels = dataset.batch(indexes[start : start + LISTS_AT_A_TIME])
            mask = arrays["candidate_mask"]
            parts.append(_Table(flatten(arrays, self.columns), labels[mask], mask.sum(axis=1)))
        return _Table(*map(np.concatenate, zip(*parts, strict=True)))


class _Table(NamedTuple):
    values: NDArray[np.float32]  # (n, F)
    labels: NDArray[np.float32]  # (n,)
    lengths: NDArray[np.int64]  # (B,)


def _lightgbm() -> Any:
    try:
        import lightgbm  # in an extra, and slow to import
    except ImportError as error:
        raise LambdaMARTError(
            "lambdamart needs LightGBM, which is not installed: pip install -e '.[baselines]'"
        ) from error
    return lightgbm
