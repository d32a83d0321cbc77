"""Layers that several models share. Masks are explicit: true where a key may be attended to.

B lists, Q queries, S keys, d width, h heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.ranker import NEVER


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU with 16 random bits an element, a quarter of the time of its own draw.

    The rate is met to 1/65536.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or self.p == 1 or input.device.type != "cpu":
            return functional.dropout(input, self.p, self.training)
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = bits >= round(self.p * 2**16) - 2**15
        return input * kept.to(input.dtype).div_(1.0 - self.p)


class Attention(nn.Module):
    """Multi-head attention with an additive bias on the logits, or, as PSAD prints it, after."""

    def __init__(self, width: int, heads: int, post_bias: bool = False) -> None:
        super().__init__()
        self.heads, self.post_bias = heads, post_bias
        self.query, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(
        self, queries: Tensor, keys: Tensor, mask: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """queries (B, Q, d), keys (B, S, d), mask broadcastable to (B, Q, S), bias (B, Q, S)."""
        return self.attend(self.query(queries), *self.keys_values(keys), mask, bias)

    def keys_values(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, d) to keys and values (B, S, d), for `attend`; queries may share them."""
        k, v = self.key_value(keys).chunk(2, -1)
        return k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, bias: Tensor | None) -> Tensor:
        """Projected queries (B, Q, d), keys and values (B, S, d), to (B, Q, d)."""
        inside = 0.0 if bias is None or self.post_bias else bias
        shift = torch.where(mask, inside, NEVER).unsqueeze(1).to(q.dtype)  # (B, 1, Q, S)
        after = (bias * mask).unsqueeze(1) if self.post_bias and bias is not None else None
        found: Tensor = self.output(attention(q, k, v, self.heads, shift, after, bias is not None))
        return found


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    shift: Tensor | None = None,
    after: Tensor | None = None,
    learned: bool = False,
) -> Tensor:
    """Queries (B, Q, d) and S keys and values (B, S, d), divided among heads, to (B, Q, d).

    shift is added to the logits, after to the weights, both broadcastable to (B, h, Q, S); what is
    `learned` has no fused kernel. An exported graph has one node for it all (ONNX's Attention).
    """
    if after is None and torch.compiler.is_exporting():
        if shift is not None:  # ONNX Runtime asks for all queries' own
            shift = shift.expand(*shift.shape[:2], q.shape[1], -1)
        return torch.onnx.ops.attention(q, k, v, shift, q_num_heads=heads, kv_num_heads=heads)[0]
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # (B, h, ·, d/h)
    if after is None and not learned:
        attended = functional.scaled_dot_product_attention(q, k, v, shift)
    else:
        logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)  # (B, h, Q, S)
        weights = (logits if shift is None else logits + shift).softmax(-1)  # PSAD Eq. (1)
        attended = (weights if after is None else weights + after) @ v
    return attended.transpose(1, 2).flatten(-2)


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, hidden: int, dropout: float, output: int | None = None) -> None:
        super().__init__(
            nn.Linear(width, hidden),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(hidden, width if output is None else output),
        )


class Block(nn.Module):
    """A transformer layer: pre-norm with residuals, or neither (`residual=False`)."""

    def __init__(
        self, width: int, heads: int, dropout: float, residual: bool = True, post_bias: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention = Attention(width, heads, post_bias)
        self.feed_forward = FeedForward(width, 2 * width, dropout)
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if residual else nn.Identity() for _ in range(2)
        )
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor, bias: Tensor | None = None, last: int | None = None
    ) -> Tensor:
        """(B, S, d) to (B, S, d), or only its `last` positions as queries: (B, last, d)."""
        keys = self.norms[0](x)
        start = 0 if last is None else x.shape[1] - last
        attended = self.attention(keys[:, start:], keys, mask, bias)
        if not self.residual:
            return self.feed_forward(attended)
        x = x[:, start:] + self.dropout(attended)  # PSAD Eq. (2), with residuals
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Over the last axis, true entries alone; others get NEVER. All-false rows stay finite."""
    log_probabilities = logits.masked_fill(~mask, NEVER).log_softmax(-1)
    return torch.where(mask, log_probabilities, NEVER)
