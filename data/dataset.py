"""The dataset on disk: memory-mapped arrays of lists, and batches cut out of them.

    schema.json  catalogue/  info.json     what is in it, where it came from, what was left out
    arrays/*.npy    users: user_categorical, user_bag, user_numeric (U, ·)
                    lists: list_user, list_split, timestamp, history_start, history_length (L,),
                           candidate_offsets (L + 1,)
                    candidates: candidate_row, label, context_categorical, context_bag,
                           context_numeric, derived (ΣM, ·)
                    acted: catalogue rows of positive items by user, newest first; a history is a
                           slice of it, so it takes no room of its own
                    acted_timestamp: when that was; acted_offsets (U + 1,): where a user's begin
                    rest_user, rest_offsets, rest_row, rest_label: what the lists that are not
                           ranked showed, for statistics of the whole log
    users.parquet, lists.parquet, context.parquet     raw values, for requests to the service
    items.parquet   raw values of the items that were described, for `psad refresh`
    summary.html    a page about all this, for people; nothing reads it

B lists of a batch, N history items, M candidates (padded to the batch's longest), L all lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import Catalogue
from features.encode import Arrays, Encoder, Lists, RawItems, Request
from features.errors import BundleError, DataError
from features.schema import FeatureSchema

FORMAT = "psad dataset 1"
SPLITS = ("train", "valid", "test")  # list_split holds the place in here
REQUIRED = (
    "user_categorical", "user_bag", "user_numeric", "list_user", "list_split", "timestamp",
    "history_start", "history_length", "candidate_offsets", "candidate_row", "label",
    "context_categorical", "context_bag", "context_numeric", "acted",
)  # fmt: skip
CONTEXT_ROWS, CONTEXT_BLOCKS = 65_536, 64  # of raw context, read together and kept for the next
Int64 = npt.NDArray[np.int64]
Indexes = Sequence[int] | Int64


class Dataset:
    """Lists of one log, by index 0..L-1 (users and their time in order). Never written to."""

    def __init__(
        self,
        folder: Path,
        schema: FeatureSchema,
        catalogue: Catalogue,
        arrays: Mapping[str, npt.NDArray[Any]],
        info: Mapping[str, Any],
    ) -> None:
        self.folder, self.schema, self.catalogue = folder, schema, catalogue
        self.info = info
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays["list_user"])

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset.load, (self.folder,)  # another process maps the same files

    @classmethod
    def load(cls, folder: Path | str) -> Dataset:
        """Map a dataset that `psad prepare` wrote; raises DataError where it is not one."""
        folder = Path(folder)
        info = read_info(folder)
        schema = FeatureSchema.load(folder / "schema.json")
        if info["fingerprint"] != schema.fingerprint():
            raise DataError(
                f"{folder}: schema.json is not the one that {folder} was prepared with."
            )
        try:
            catalogue = Catalogue.load(folder / "catalogue", schema)
            arrays = {
                path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
                for path in sorted((folder / "arrays").glob("*.npy"))
            }
        except (OSError, ValueError, EOFError, BundleError) as error:
            raise DataError(f"{folder} is damaged: {error}. Prepare it again.") from error
        if missing := [name for name in REQUIRED if name not in arrays]:
            raise DataError(f"{folder} is damaged: it lacks {missing}. Prepare it again.")
        return cls(folder, schema, catalogue, arrays, info)

    @cached_property
    def splits(self) -> dict[str, Int64]:
        """The indexes of the train, valid and test lists."""
        codes = self._arrays["list_split"]
        return {name: np.flatnonzero(codes == code) for code, name in enumerate(SPLITS)}

    @cached_property
    def lengths(self) -> Int64:
        """(L,) candidates of each list."""
        return np.diff(self._arrays["candidate_offsets"])

    @cached_property
    def history_lengths(self) -> Int64:
        """(L,) history items of each list."""
        return np.asarray(self._arrays["history_length"], np.int64)

    @cached_property
    def history_starts(self) -> Int64:
        """(L,) where each list's history begins among all that users acted on; falls with time."""
        return np.asarray(self._arrays["history_start"], np.int64)

    @cached_property
    def users(self) -> Int64:
        """(L,) a number for who each list was shown to, ascending."""
        return np.asarray(self._arrays["list_user"], np.int64)

    @cached_property
    def encoder(self) -> Encoder:
        """Encodes this dataset's lists and requests."""
        return Encoder(self.schema, self.catalogue)

    def lists(self, indexes: Indexes) -> Lists:
        """B lists, ready to encode; training rows carry out-of-fold derived features."""
        chosen, arrays = np.asarray(indexes, np.int64), self._arrays
        user = arrays["list_user"][chosen]
        acted, history_offsets = ragged(
            arrays["history_start"][chosen], arrays["history_length"][chosen]
        )
        shown, candidate_offsets = self._shown(chosen)
        return Lists(
            user_categorical=arrays["user_categorical"][user],
            user_bag=arrays["user_bag"][user],
            user_numeric=arrays["user_numeric"][user],
            history_rows=arrays["acted"][acted].astype(np.int64),
            history_offsets=history_offsets,
            candidate_rows=arrays["candidate_row"][shown].astype(np.int64),
            candidate_offsets=candidate_offsets,
            context_categorical=arrays["context_categorical"][shown],
            context_bag=arrays["context_bag"][shown],
            context_numeric=arrays["context_numeric"][shown],
            derived=arrays["derived"][shown] if "derived" in arrays else None,
        )

    def batch(self, indexes: Indexes) -> tuple[Arrays, npt.NDArray[np.float32]]:
        """Encoded arrays as `schema.tensors()` names them, and labels (B, M), 0 at padding."""
        return self.encoder.encode(self.lists(indexes)), self.labels(indexes)

    def labels(self, indexes: Indexes) -> npt.NDArray[np.float32]:
        """(B, M) 1 where positive, 0 where not and at padding."""
        shown, offsets = self._shown(np.asarray(indexes, np.int64))
        lengths = np.diff(offsets)
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        labels = np.zeros(mask.shape, np.float32)
        labels[mask] = self._arrays["label"][shown]
        return labels

    def user_ids(self, indexes: Indexes) -> npt.NDArray[np.str_]:
        """(B,) who each list was shown to."""
        user = self._arrays["list_user"][np.asarray(indexes, np.int64)]
        return self._users["user_id"].gather(user).to_numpy().astype(np.str_)

    def timestamps(self, indexes: Indexes) -> Int64:
        """(B,) when each list was shown, seconds since 1970."""
        return self._arrays["timestamp"][np.asarray(indexes, np.int64)]

    def list_ids(self, indexes: Indexes) -> list[str]:
        """The ids of lists in their log."""
        return self._list_ids.gather(np.asarray(indexes, np.int64)).to_list()

    def request(self, index: int) -> Request:
        """One list in raw values, as a caller would post it to the service.

        For lists of valid and test it encodes to the same bits as `batch([index])`. Training lists
        differ in their derived features, which are out of fold.
        """
        arrays, ids = self._arrays, self.catalogue.ids
        start, end = arrays["candidate_offsets"][index : index + 2].tolist()
        newest = int(arrays["history_start"][index])
        history = arrays["acted"][newest : newest + int(arrays["history_length"][index])]
        profile = self._users.row(int(arrays["list_user"][index]), named=True)
        user = {feature.name: profile[feature.name] for feature in self.schema.user}
        return Request(
            user={name: value for name, value in user.items() if value is not None},
            history=RawItems([ids[row - 1] for row in history.tolist()]),
            candidates=RawItems(
                [ids[row - 1] for row in arrays["candidate_row"][start:end].tolist()],
                self._context(start, end),
            ),
        )  # fmt: skip

    def acted(self) -> Iterator[tuple[dict[str, Any], list[tuple[str, int]]]]:
        """Every user's raw values, and the newest they acted on, of any list: ids and times.

        Raises DataError.
        """
        if "acted_timestamp" not in self._arrays:
            raise DataError(
                f"{self.folder} was prepared by an earlier version, which kept no times of what "
                "users acted on: prepare it again."
            )
        rows, times = self._arrays["acted"], self._arrays["acted_timestamp"]
        offsets, ids = self._arrays["acted_offsets"].tolist(), self.catalogue.ids
        for place, profile in enumerate(self._users.iter_rows(named=True)):
            start = offsets[place]
            end = min(offsets[place + 1], start + self.schema.max_history)
            found = zip(rows[start:end].tolist(), times[start:end].tolist(), strict=True)
            yield profile, [(ids[row - 1], time) for row, time in found]

    @cached_property
    def items(self) -> pl.DataFrame:
        """The items that were described: item_id and raw features. Raises DataError."""
        path = self.folder / "items.parquet"
        if not path.exists() or "rest_row" not in self._arrays:
            raise DataError(
                f"{self.folder} was prepared by an earlier version, which kept no raw values of "
                "items: prepare it again."
            )
        return pl.read_parquet(path)

    def every_list(self) -> tuple[Int64, Int64, Int64]:
        """(L',) user, place of the first row and length of all lists, ranked or not, by user.

        Places are what `every_row` reads.
        """
        arrays, offsets = self._arrays, np.asarray(self._arrays["candidate_offsets"])
        rest = np.asarray(arrays["rest_offsets"])
        user = np.concatenate([arrays["list_user"], arrays["rest_user"]]).astype(np.int64)
        first = np.concatenate([offsets[:-1], rest[:-1] + offsets[-1]])
        length = np.concatenate([np.diff(offsets), np.diff(rest)])
        order = np.argsort(user, kind="stable")
        return user[order], first[order], length[order]

    def every_row(self, places: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """(n,) catalogue rows and whether their labels were positive, at places of any list."""
        ranked = len(self._arrays["candidate_row"])
        parts = [places[places < ranked], places[places >= ranked] - ranked]
        found = []
        for names in (("candidate_row", "rest_row"), ("label", "rest_label")):
            values = np.empty(len(places), np.int64)
            for name, part, here in zip(
                names, parts, (places < ranked, places >= ranked), strict=True
            ):
                values[here] = self._arrays[name][part]
            found.append(values)
        return found[0], found[1] > 0

    def _shown(self, chosen: Int64) -> tuple[Int64, Int64]:
        """Places of the lists' candidates in the candidate arrays, and offsets (B + 1,)."""
        offsets = self._arrays["candidate_offsets"]
        return ragged(offsets[chosen], offsets[chosen + 1] - offsets[chosen])

    @cached_property
    def _users(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "users.parquet")

    @cached_property
    def _list_ids(self) -> pl.Series:
        return pl.read_parquet(self.folder / "lists.parquet")["list_id"]

    def _context(self, start: int, end: int) -> dict[str, list[Any]]:
        if not self.schema.context:
            return {}
        first, last = start // CONTEXT_ROWS, max(start, end - 1) // CONTEXT_ROWS
        rows = pl.concat([self._context_block(block) for block in range(first, last + 1)])
        return rows.slice(start - first * CONTEXT_ROWS, end - start).to_dict(as_series=False)

    @cached_property
    def _context_block(self) -> Callable[[int], pl.DataFrame]:
        """A block of raw context rows: a list alone costs as much to read, tens of milliseconds."""
        rows = pl.scan_parquet(self.folder / "context.parquet")
        read = lru_cache(CONTEXT_BLOCKS)(
            lambda block: rows.slice(block * CONTEXT_ROWS, CONTEXT_ROWS).collect()
        )
        return cast("Callable[[int], pl.DataFrame]", read)


def ragged(starts: Int64, lengths: Int64) -> tuple[Int64, Int64]:
    """Places start..start+length of each segment, one after another, and their offsets (B + 1,)."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return places, offsets


def read_info(folder: Path) -> dict[str, Any]:
    """The dataset's own description; raises DataError where the folder is no dataset."""
    try:
        info: dict[str, Any] = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is not a prepared dataset ({error}). Make one with "
            f"`psad prepare SOURCE {folder}`."
        ) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise DataError(f"{folder} was not written by this version; prepare it again.")
    return info
