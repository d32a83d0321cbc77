"""User Profile Network: who is looking, and what that changes (PSAD, section 4.3).

A user without features, or of a data set without any, has the learned profile of the unknown.
B lists, S = N + M items, d width, g gate width, p profile width, E entries of a position table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from model.layers import FeedForward
from model.psad.config import Config


class Profile(nn.Module):
    """P_u (B, p): the user's features in one vector."""

    def __init__(self, features: int, config: Config) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.zeros(config.profile_width))
        self.project = nn.Linear(features, config.profile_width) if features else None

    def forward(self, user: Tensor | None, lists: int) -> Tensor:
        """user (B, features), or None where the schema has no user features."""
        if self.project is None or user is None:
            return self.base.expand(lists, -1)
        return linear(user, self.project.weight, self.project.bias + self.base)


class Gate(nn.Module):
    """Personalised gating of item vectors, Eqs. (11) and (12)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, hidden, self.config = config.width, config.gate_width, config
        # the first layer of MLP(X ⊕ P_u) is a map of X plus a map of P_u, the latter once a user
        self.from_items = nn.Linear(width, 2 * hidden)
        self.from_profile = nn.Linear(config.profile_width, 2 * hidden, bias=False)
        self.signal = FeedForward(hidden, hidden, 0.0, width)
        nn.init.zeros_(self.signal[-1].weight)
        nn.init.constant_(self.signal[-1].bias, config.gate_bias)
        self.add = nn.Linear(config.profile_width, width) if config.gate_add_profile else None

    def forward(self, x: Tensor, profile: Tensor) -> Tensor:
        """x (B, S, d), profile (B, p) to (B, S, d)."""
        seen = x.detach() if self.config.gate_stop_gradient else x
        once, added = self._of_user(profile)
        mixed = linear(seen, self.from_items.weight) + once
        plain, activated = mixed.chunk(2, -1)
        product = plain * nn.functional.gelu(activated)  # Eq. (11)
        gated = torch.sigmoid(self.signal(product)) * x  # Eq. (12)
        return gated if added is None else gated + added

    def _of_user(self, profile: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a user brings to the first layer (B, 1, 2g), and to the end (B, 1, d): one map."""
        weight, bias = self.from_profile.weight, self.from_items.bias
        if self.add is None:
            return linear(profile, weight, bias).unsqueeze(1), None
        weight, bias = torch.cat([weight, self.add.weight]), torch.cat([bias, self.add.bias])
        both = linear(profile, weight, bias).unsqueeze(1)  # (B, 1, 2g + d)
        once, added = both.split([2 * self.config.gate_width, self.config.width], 2)
        return once, added


class PersonalPosition(nn.Module):
    """Position biases that depend on the user, Eq. (13), on a table of E entries."""

    def __init__(self, config: Config, hidden: int = 8) -> None:
        super().__init__()
        self.stop_gradient = config.position_stop_gradient
        self.from_profile = nn.Linear(config.profile_width, hidden)
        self.from_position = nn.Linear(1, hidden, bias=False)
        self.output = nn.Linear(hidden, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, table: Tensor, profile: Tensor) -> Tensor:
        """table (E,), profile (B, p) to (E, B): rows of it are what is read, once a pair."""
        user = self.from_profile(profile.detach() if self.stop_gradient else profile)
        place = self.from_position(table[:, None, None])  # (E, 1, hidden)
        hidden = nn.functional.gelu(user + place)  # (E, B, hidden)
        return table.unsqueeze(1) + torch.tanh(self.output(hidden)).squeeze(-1)  # Eq. (13)
