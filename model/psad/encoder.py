"""The shared encoder of generator and scoring network (PSAD, section 4.1).

The sequence is the history, newest first, then the candidates in incoming order.
B lists, N history, M candidates, S = N + M, d width, E entries of a position table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from features.schema import FeatureSchema, Side
from model.axes import Axis, Name, or_presence
from model.embed import FeatureEmbedding, Tensors
from model.layers import Block
from model.psad.config import Config
from model.psad.match import Hinges, Kinds, kinds_of
from model.psad.upn import Gate, PersonalPosition, Profile

_SEGMENTS: tuple[Side, Side] = ("history", "candidate")


class Encoded(NamedTuple):
    """What generator and scoring network read."""

    states: Tensor  # (B, S, d): history as it enters the last layer, candidates as they leave it
    mask: Tensor  # (B, S)
    candidates: Tensor  # (B, M, d)
    candidate_mask: Tensor  # (B, M)
    profile: Tensor  # (B, p)
    kinds: Kinds  # what was known before the encoder

    def detached(self) -> Encoded:
        """The same, through which no gradient goes."""
        return self._replace(
            states=self.states.detach(),
            candidates=self.candidates.detach(),
            profile=self.profile.detach(),
            kinds=self.kinds.detached(),
        )


class Positions(nn.Module):
    """Which entry of a layer's position table belongs to each pair of places.

    "relative": one range for each pair of segments: by offset within a segment, by the history
    slot across. "pair": every (i, j) of Eq. (1); the candidates begin at a fixed base. Places
    beyond what was trained share the last entry.
    """

    def __init__(self, history: int, candidates: int, how: str, blind: bool = False) -> None:
        """`blind` gives all pairs of candidates one entry, whatever their offset."""
        super().__init__()
        self.history, self.candidates, self.how = max(history, 1), candidates, how
        self.blind = blind
        n, m = self.history, self.candidates
        self.entries = (2 * n - 1) + (2 * m - 1) + 2 * n if how == "relative" else (n + m) ** 2

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """history (N,) and candidates (M,) are 0, 1, 2 …; returns (S, S) entries."""
        if self.blind:
            candidates = torch.zeros_like(candidates)
        h = history.clamp(max=self.history - 1)
        c = candidates.clamp(max=self.candidates - 1)
        if self.how == "pair":
            place = torch.cat([h, self.history + c])
            return place.unsqueeze(1) * (self.history + self.candidates) + place
        within_history = _offsets(history, self.history)
        base = 2 * self.history - 1
        within_candidates = _offsets(candidates, self.candidates, base)
        base += 2 * self.candidates - 1
        to_candidate = (base + h).unsqueeze(1).expand(-1, candidates.shape[0])  # (N, M)
        to_history = (base + self.history + h).expand(candidates.shape[0], -1)  # (M, N)
        upper = torch.cat([within_history, to_candidate], 1)
        return torch.cat([upper, torch.cat([to_history, within_candidates], 1)], 0)

    def names(self) -> tuple[Name, ...]:
        """(E,) what each entry is between."""
        n, m = self.history, self.candidates
        if self.how == "pair":
            slots: list[Name] = [("history", i) for i in range(n)]
            slots += [("candidate", i) for i in range(m)]
            return tuple((str(a[0]), str(b[0]), a[1], b[1]) for a in slots for b in slots)
        return (
            *(("within history", offset) for offset in range(1 - n, n)),
            *(("within candidates", offset) for offset in range(1 - m, m)),
            *(("to candidate", slot) for slot in range(n)),
            *(("to history", slot) for slot in range(n)),
        )

    def of_candidates(self, table: Tensor) -> Tensor:
        """What candidates read of a "relative" table (E,): by history slot, then by offset."""
        within = table[2 * self.history - 1 :][: 2 * self.candidates - 1]
        if self.blind:
            within = within[self.candidates - 1 : self.candidates]
        return torch.cat([table[len(table) - self.history :], within])

    def from_candidates(self, history: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Which of these belong to history (N,) and candidates (M, M)."""
        return self._slots(history), _offsets(candidates, self.candidates, self.history)

    def from_any_candidate(self, history: Tensor, candidates: Tensor) -> Tensor:
        """(S,) likewise, where blind: the same for every candidate."""
        return pad(self._slots(history), (0, candidates.shape[0]), value=self.history)

    def _slots(self, history: Tensor) -> Tensor:
        return history.clamp(max=self.history - 1)


def _without(schema: FeatureSchema, name: str) -> Tensor | None:
    """(F,) ones, and 0 at the candidates' derived number of that name; None where it has none."""
    names = [feature.name for feature in schema.derived]
    if name not in names:
        return None
    kept = torch.ones(schema.width("candidate", "numeric"))
    kept[len(kept) - len(names) + names.index(name)] = 0.0
    return kept


def _offsets(places: Tensor, longest: int, base: int = 0) -> Tensor:
    """(n, n) offsets j − i, cut to what was trained, from `base`."""
    offsets = places + (base + longest - 1) - places.unsqueeze(1)
    return offsets.clamp(base, base + 2 * longest - 2)


class Encoder(nn.Module):
    """Embedding, personalisation and L layers of self-attention with personal position biases."""

    def __init__(self, schema: FeatureSchema, config: Config) -> None:
        super().__init__()
        self.config = config
        width, late = config.width, config.interaction in ("none", "late")
        self.embed = FeatureEmbedding(
            schema, config.embedding_width, config.unknown_rate, config.id_rate
        )
        widths = self.embed.widths
        self.project = nn.ModuleDict(
            {side: nn.Linear(max(widths[side], 1), width) for side in _SEGMENTS}
        )
        self.kind_widths = {side: max(self.embed.kind_widths[side], 1) for side in _SEGMENTS}
        numbers = schema.width("candidate", "numeric") if config.wide else 0
        self.hinges = Hinges(numbers, config.knots) if numbers else None
        self.segment = nn.Parameter(torch.randn(2, width) * 0.02)
        read = widths["user"] if config.interaction != "none" else 0  # none: nor do the heads
        self.profile = Profile(read, config)
        self.gate = Gate(config) if config.interaction == "upn" and config.gate else None
        joined = config.interaction in ("concat", "late")
        self.join = nn.Linear(config.profile_width, width) if joined else None
        self.positions = Positions(
            schema.max_history, schema.max_candidates, config.position, config.order_blind
        )
        shown = None if not config.order_blind else _without(schema, "incoming_position")
        self.register_buffer("shown", shown, persistent=False)  # (F,) 0 at numbers to be ignored
        self.tables = nn.Parameter(torch.zeros(config.layers, self.positions.entries))
        personal = config.personal_position and config.interaction == "upn"
        self.personal = nn.ModuleList(
            PersonalPosition(config) for _ in range(config.layers if personal else 0)
        )
        post = config.attn_bias == "post"
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.dropout, config.residual, post)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width) if config.residual else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self._early = not late
        self.shown: Tensor | None

    def axes(self) -> dict[str, Axis]:
        """Columns of what reads features, and entries of the position tables."""
        sides = {
            f"project.{side}.weight": Axis(1, or_presence(self.embed.names(side)))
            for side in _SEGMENTS
        }
        if self.profile.project is not None:
            sides["profile.project.weight"] = Axis(1, self.embed.names("user"))
        return sides | {"tables": Axis(1, self.positions.names())}

    def forward(self, tensors: Tensors) -> Encoded:
        """The last layer runs for candidates alone: what it would make of the history, only a
        generator would read, and that reads it as well from the layer before."""
        history_mask, candidate_mask = tensors["history_mask"], tensors["candidate_mask"]
        if self.shown is not None:
            numbers = tensors["candidate_numeric"] * self.shown
            tensors = {**tensors, "candidate_numeric": numbers}
        profile = self._profile(tensors, candidate_mask.shape[0])
        embedded = self._embedded(tensors)
        x = self._inputs(embedded, profile)  # (B, S, d)
        mask = torch.cat([history_mask, candidate_mask], 1)
        count = candidate_mask.shape[1]
        places = [torch.arange(side.shape[1], device=x.device)
                  for side in (history_mask, candidate_mask)]  # fmt: skip
        for layer, block in enumerate(self.blocks):
            last = layer == len(self.blocks) - 1
            bias = (self._last_bias if last else self._bias)(layer, profile, *places)
            before, x = x, block(x, mask.unsqueeze(1), bias, count if last else None)
        candidates = self._final(x, profile)
        # a scoring network reads none of this, and its graph does not compute it
        states = torch.cat(
            [self._final(before[:, : before.shape[1] - count], profile), candidates], 1
        )
        kinds = Kinds(
            kinds_of(embedded[0], self.embed.kind_widths["history"]),
            history_mask,
            kinds_of(embedded[1], self.embed.kind_widths["candidate"]),
            profile,
            self.hinges(tensors["candidate_numeric"]) if self.hinges is not None else None,
            tensors.get("candidate_categorical"),
        )
        return Encoded(states, mask, candidates, candidate_mask, profile, kinds)

    def _final(self, x: Tensor, profile: Tensor) -> Tensor:
        """Normalised, and where the interaction is late, joined with the profile."""
        x = self.norm(x)
        if self.join is not None and not self._early:
            x = x + self.join(profile).unsqueeze(1)
        return x

    def _profile(self, tensors: Tensors, lists: int) -> Tensor:
        user = self.embed(tensors, "user") if self.profile.project is not None else None
        return self.profile(user, lists)

    def _embedded(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        """Item vectors of history (B, N, ·) and candidates (B, M, ·)."""
        found = []
        for side in _SEGMENTS:
            if self.embed.widths[side]:
                found.append(self.embed(tensors, side))
            else:  # history items without any feature: their presence alone
                found.append(tensors[f"{side}_mask"].unsqueeze(-1).to(self.segment.dtype))
        return found[0], found[1]

    def _inputs(self, embedded: tuple[Tensor, Tensor], profile: Tensor) -> Tensor:
        """Projected item vectors of both segments, personalised: (B, S, d)."""
        parts = []
        for x, side, segment in zip(embedded, _SEGMENTS, self.segment, strict=True):
            project: Any = self.project[side]
            parts.append(linear(x, project.weight, project.bias + segment))
        x = self.dropout(torch.cat(parts, 1))
        if self.gate is not None:
            return self.gate(x, profile)
        if self.join is not None and self._early:  # concat: one linear map of x ⊕ P_u
            return x + self.join(profile).unsqueeze(1)
        return x

    def _bias(self, layer: int, profile: Tensor, history: Tensor, candidates: Tensor) -> Tensor:
        """(B, S, S) position bias of a layer; history (N,) and candidates (M,) are 0, 1, 2 …"""
        entries = self.positions(history, candidates)
        biases = self._biases(layer, profile, self.tables[layer])
        return biases[entries].permute(2, 0, 1)

    def _last_bias(
        self, layer: int, profile: Tensor, history: Tensor, candidates: Tensor
    ) -> Tensor:
        """(B, M, S) of candidates alone, or (B, 1, S) where all are the same."""
        if self.positions.how == "pair":
            return self._bias(layer, profile, history, candidates)[:, history.shape[0] :]
        table = self.positions.of_candidates(self.tables[layer])
        biases = self._biases(layer, profile, table)
        if self.positions.blind:
            entries = self.positions.from_any_candidate(history, candidates)
            return biases[entries].t().unsqueeze(1)
        upward, among = self.positions.from_candidates(history, candidates)
        beside = biases[among].permute(2, 0, 1)  # (B, M, M), and what is above is the same for all
        upward = biases[upward].t().unsqueeze(1)  # (B, 1, N)
        return torch.cat([upward.expand(-1, among.shape[0], -1), beside], 2)

    def _biases(self, layer: int, profile: Tensor, table: Tensor) -> Tensor:
        """(E, B) a layer's table (E,), or a part, for each user; or (E, 1)."""
        if len(self.personal):
            return torch.as_tensor(self.personal[layer](table, profile))
        return table.unsqueeze(1)
