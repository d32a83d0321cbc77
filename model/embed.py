"""Features to vectors: the embedding of a schema that every model shares.

Vectors of all categorical and bag features are concatenated with the numbers and their missing
flags (PSAD, section 4.1). A bag is the mean of its values' vectors. In training, values are
replaced by "unknown" at random, so that the unknown vectors learn to stand in for cold items.

B lists, n items of a side, F features of a kind, e width of one feature's vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.schema import PADDING, SIDES, UNKNOWN, Feature, FeatureSchema, Kind, Side
from model.axes import Axis, Name, number_names, or_presence, value_names, vector_names

Tensors = Mapping[str, Tensor]

MANY = 200  # values of a feature that tells items apart, rather than kinds of items


class Table(nn.Module):
    """One embedding matrix for many features, each with its own range of rows."""

    def __init__(self, features: tuple[Feature, ...], width: int) -> None:
        super().__init__()
        categorical = [f for f in features if f.kind == "categorical"]
        bags = [f for f in features if f.kind == "bag"]
        starts = torch.tensor([0, *(f.size for f in (*categorical, *bags))]).cumsum(0)
        self.vectors = nn.Embedding(max(int(starts[-1]), 1), width)
        nn.init.normal_(self.vectors.weight, std=0.05)
        self._features = (*categorical, *bags)
        self.bag_lengths = [f.max_length for f in bags]
        slots = torch.tensor(self.bag_lengths, dtype=torch.long)
        self.categorical_start: Tensor
        self.bag_start: Tensor
        self.register_buffer("categorical_start", starts[: len(categorical)], persistent=False)
        bag_starts = starts[len(categorical) : len(categorical) + len(bags)]
        self.register_buffer("bag_start", bag_starts.repeat_interleave(slots), persistent=False)

    def axes(self) -> dict[str, Axis]:
        """A row a value."""
        return {"vectors.weight": Axis(0, or_presence(value_names(self._features)))}

    def categorical(self, index: Tensor) -> Tensor:
        """(…, F) indices to (…, F·e)."""
        # a side may hold only the first of the table's features: history has no context ones
        vectors = self.vectors(index + self.categorical_start[: index.shape[-1]])  # (…, F, e)
        # widths in full, not flatten(): a computed size cannot tell an empty history's apart
        return vectors.reshape(*index.shape[:-1], index.shape[-1] * vectors.shape[-1])

    def bag(self, index: Tensor) -> Tensor:
        """(…, slots) indices to (…, bags·e), means over the filled slots."""
        return self._bag_filled(index) if self.training else self._bag_padded(index)

    def _bag_filled(self, index: Tensor) -> Tensor:
        """Reads the filled slots alone, most being empty: a fifth of the other's time to train."""
        filled = index != PADDING
        counts = torch.stack([part.sum(-1) for part in self._parts(filled)], -1)  # (…, bags)
        ends = counts.flatten().cumsum(0)
        rows = (index + self.bag_start[: index.shape[-1]])[filled]  # (ΣF,) slot after slot
        means = functional.embedding_bag(
            rows, self.vectors.weight, ends - counts.flatten(), mode="mean"
        )
        return means.reshape(*index.shape[:-1], counts.shape[-1] * means.shape[-1])

    def _parts(self, slots: Tensor) -> list[Tensor]:
        """(…, slots) cut by bag; a side may hold only the first of the table's bags."""
        lengths, left = [], slots.shape[-1]
        for length in self.bag_lengths:
            if left:
                lengths.append(length)
                left -= length
        return list(slots.split(lengths, -1)) if len(lengths) > 1 else [slots]

    def _bag_padded(self, index: Tensor) -> Tensor:
        """The same by products alone, which export well."""
        vectors = self.vectors(index + self.bag_start[: index.shape[-1]])  # (…, slots, e)
        filled = (index > PADDING).to(vectors.dtype)
        means, start = [], 0
        for part in self._parts(filled):
            length = part.shape[-1]
            # sums as products: ONNX Runtime's ReduceSum gets the shape of an empty history wrong
            count = part @ part.new_ones(length, 1)  # (…, 1)
            share = (part / count.clamp(min=1)).unsqueeze(-2)  # (…, 1, length)
            means.append((share @ vectors[..., start : start + length, :]).squeeze(-2))
            start += length
        return torch.cat(means, -1)


class FeatureEmbedding(nn.Module):
    """Users, history items and candidates as vectors, before any projection."""

    def __init__(
        self,
        schema: FeatureSchema,
        width: int = 16,
        unknown_rate: float = 0.0,
        id_rate: float | None = None,
    ) -> None:
        """`unknown_rate`: share of values replaced by unknown, or of numbers by missing.

        `id_rate` is that of features with more than MANY values; where it is 1, these are not read.
        """
        super().__init__()
        self.unknown_rate = unknown_rate
        self._schema, self._width = schema, width
        kinds: tuple[Kind, Kind] = ("categorical", "bag")
        self.unread: set[str] = set()  # arrays with columns that are never read
        for side in SIDES:
            for kind in kinds:
                rates = _rates(schema.of(side, kind), unknown_rate, id_rate)  # (columns,)
                self.register_buffer(f"{side}_{kind}_rate", rates, persistent=False)
                if (rates == 1).any():
                    self.unread.add(f"{side}_{kind}")
        items = schema.item + schema.context
        ordered = tuple(f for kind in kinds for f in items if f.kind == kind)
        self.items, self.users = Table(ordered, width), Table(schema.user, width)
        self.numbers = {side: _number_blocks(schema, side) for side in SIDES}
        # of what is not a number, which comes first
        self.kind_widths: dict[Side, int] = {
            side: width * sum(len(schema.of(side, kind)) for kind in kinds) for side in SIDES
        }
        self.widths: dict[Side, int] = {
            side: self.kind_widths[side] + schema.width(side, "numeric") for side in SIDES
        }

    def kind_names(self, side: Side) -> tuple[Name, ...]:
        """What is not a number."""
        return vector_names(self._schema, side, self._width)

    def names(self, side: Side) -> tuple[Name, ...]:
        """(width,) what each number of a side's vector is of."""
        return self.kind_names(side) + number_names(self._schema, side)

    def forward(self, tensors: Tensors, side: Side) -> Tensor:
        """(B, n, width) of items, or (B, width) of users; a side without features has width 0."""
        table = self.users if side == "user" else self.items
        parts = []
        if (index := tensors.get(f"{side}_categorical")) is not None:
            parts.append(table.categorical(self._hide(index, f"{side}_categorical")))
        if (index := tensors.get(f"{side}_bag")) is not None:
            parts.append(table.bag(self._hide(index, f"{side}_bag")))
        if (numbers := tensors.get(f"{side}_numeric")) is not None:
            parts.append(self._hide_numbers(numbers, side))
        return torch.cat(parts, -1)

    def _hide(self, index: Tensor, name: str) -> Tensor:
        rates = getattr(self, f"{name}_rate")
        if self.training:
            hidden = torch.rand(index.shape, device=index.device) < rates
            return torch.where(hidden & (index != PADDING), UNKNOWN, index)
        if name in self.unread:  # one node in a graph: PADDING, then UNKNOWN, are the smallest
            return torch.minimum(
                index, torch.where(rates == 1, UNKNOWN, torch.iinfo(index.dtype).max)
            )
        return index

    def _hide_numbers(self, numbers: Tensor, side: Side) -> Tensor:
        """Make some numbers missing, value and flag together; derived ones have no flag to set."""
        if not self.training or self.unknown_rate == 0:
            return numbers
        parts, start = [], 0
        for count in filter(None, self.numbers[side]):
            values, flags = numbers[..., start : start + 2 * count].split(count, -1)
            hidden = torch.rand(values.shape, device=values.device) < self.unknown_rate
            parts += [values.masked_fill(hidden, 0.0), flags.masked_fill(hidden, 1.0)]
            start += 2 * count
        return torch.cat([*parts, numbers[..., start:]], -1)


def _rates(features: tuple[Feature, ...], rate: float, id_rate: float | None) -> Tensor:
    """(columns,) how often a value of each column is hidden in training."""
    each = [
        rate if id_rate is None or len(feature.vocabulary) <= MANY else id_rate
        for feature in features
        for _ in range(feature.width)
    ]
    return torch.tensor(each)


def _number_blocks(schema: FeatureSchema, side: str) -> list[int]:
    """How many numbers each `[values | flags]` block of a packed numeric array holds."""
    groups = {
        "user": [schema.user],
        "history": [schema.item],
        "candidate": [schema.item, schema.context],
    }
    return [sum(f.kind == "numeric" for f in group) for group in groups[side]]
