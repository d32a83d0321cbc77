"""The evaluator of finished lists: PRM with a sigmoid head on the shared encodings.

It is trained on logged lists in the order they were shown, so that it learns what an item is worth
below those above it, and judges the lists a beam search found in the order they were generated. PRM
(Pei et al., RecSys 2019) is a transformer over items and their places; its softmax head would give
every order of the same items the same sum, so this one has a click probability of its own for each
place. Attention looks upward alone: a list that is cut at T then means what its beginning meant.

Where lists are read as they were shown, a click also needs a look at its place: its probability is
the chance of that look times that of a click on what is looked at (Richardson et al., WWW 2007).

B lists, L orders of each, P places, M candidates, v width of the evaluator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.schema import FeatureSchema, Side
from model.axes import Axis, place_names
from model.decode import Pairs
from model.layers import Block
from model.psad.config import Config
from model.psad.encoder import Encoded
from model.psad.losses import place_weights
from model.psad.match import Match
from model.psad.pairs import made_pairs

_GLANCE = -3.0  # before the softplus: what a place costs the chance of a look, at first 5%


class Evaluator(nn.Module):
    """Click probabilities of the items of a list in its order, and what the list is worth."""

    def __init__(self, schema: FeatureSchema, widths: dict[Side, int], config: Config) -> None:
        """`widths` of the kinds of a side, by its name."""
        super().__init__()
        self.config = config
        count, width = schema.max_candidates, config.evaluator_width
        self.project = nn.Linear(config.width, width)
        self.place = nn.Parameter(torch.randn(count, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, config.evaluator_heads, config.dropout)
            for _ in range(config.evaluator_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, 1)
        self.match = Match(schema, widths, config)
        self.pairs = made_pairs(schema, widths["candidate"], config)
        shown = config.clicks_depend_on_place
        self.glance = nn.Parameter(torch.full((count - 1,), _GLANCE)) if shown else None

    def axes(self) -> dict[str, Axis]:
        """Rows by place; the first place costs no look."""
        found = {"place": Axis(0, place_names(len(self.place)))}
        if self.glance is not None:
            found["glance"] = Axis(0, place_names(len(self.glance)))
        return found

    def read(self, encoded: Encoded) -> Judge:
        """A judge of lists of these candidates."""
        if self.config.evaluator_stop_gradient:
            encoded = encoded.detached()
        candidates = encoded.candidates
        pairs = None if self.pairs is None else self.pairs(encoded)
        match = self.match(encoded.kinds)  # (B, M, 1), or 0
        alone = match.squeeze(2) if isinstance(match, Tensor) else None
        return Judge(self, self.project(candidates), alone, pairs)

    def log_looks(self, places: int) -> Tensor | None:
        """(P,) log of the chance that a place is looked at; None where that is no matter.

        Places beyond what was trained are like the last.
        """
        if self.glance is None:
            return None
        falls = functional.pad(functional.softplus(self.glance), (1, 0)).cumsum(0)
        index = torch.arange(places, device=falls.device).clamp(max=len(falls) - 1)
        return -falls[index]

    def loss(self, encoded: Encoded, labels: Tensor) -> Tensor:
        """Cross-entropy of the clicks in the order that was shown; labels (B, M)."""
        mask = encoded.candidate_mask
        order = torch.arange(mask.shape[1], device=mask.device)
        order = torch.where(mask, order, -1).unsqueeze(1)
        logits, looks = self.read(encoded).logits(order).squeeze(1), self.log_looks(mask.shape[1])
        if looks is None:
            terms = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        else:
            click = functional.logsigmoid(logits) + looks
            no_click = torch.log1p(-click.exp().clamp(max=1 - 1e-6))
            terms = -(labels * click + (1 - labels) * no_click)
        return (terms * mask).sum() / mask.sum().clamp(min=1)


class Judge:
    """What an evaluator thinks of lists of the same candidates."""

    def __init__(
        self, evaluator: Evaluator, tokens: Tensor, alone: Tensor | None, pairs: Pairs | None
    ) -> None:
        """tokens (B, M, v) of the candidates, alone (B, M) a logit of each whatever its place."""
        self.evaluator, self.tokens, self.alone, self.pairs = evaluator, tokens, alone, pairs
        self.table: Tensor | None = None  # (B, M, P)

    def tabulate(self, places: int) -> None:
        """Read every item at each of so many places once: for lists by the dozen.

        Without layers no item's reading depends on what else is in the list; with some, nothing
        can be read before, and nothing is.
        """
        if not len(self.evaluator.blocks):
            table = self._read(self.tokens.unsqueeze(2) + self._places(places))
            self.table = table if self.alone is None else table + self.alone.unsqueeze(2)

    def logits(self, orders: Tensor, gaps: bool = True) -> Tensor:
        """(B, L, P) of a click on what is looked at: orders (B, L, P) of items, -1 for none.

        Without `gaps`, "no item" stands at the ends of orders alone, where no item looks up at it.
        """
        return self._logits(orders.clamp(min=0), (orders >= 0) if gaps else None)

    def chances(self, orders: Tensor, gaps: bool = True) -> Tensor:
        """(B, L, P) the probability of a click at each place of orders (B, L, P)."""
        return self._chances(self.logits(orders, gaps))

    def worth(self, chances: Tensor, orders: Tensor) -> Tensor:
        """(B, L) expected gain of each list: discounted as DCG is, or the clicks themselves.

        Where lists are trained in the state that was shown, the probability of a click already
        falls with the place, and a discount would count that twice.
        """
        return self._worth(chances, orders >= 0)

    def full(self, items: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """`chances` (B, L, P) and `worth` (B, L) of items (B, L, P), some item at every place.

        held (B, L or 1, P): all places but those at the end, which do not count.
        """
        chances = self._chances(self._logits(items, None))
        return chances, self._worth(chances, held)

    def _logits(self, items: Tensor, real: Tensor | None) -> Tensor:
        """(B, L, P) of items (B, L, P), where `real` says which there are, if any are missing."""
        count, places = items.shape[1:]
        if self.table is not None and self.table.shape[2] == places:
            cells = items * places + torch.arange(places, device=items.device)
            logits = self.table.flatten(1).gather(1, cells.flatten(1)).view(cells.shape)
        else:
            x = self._tokens(items)  # (B·L, P, v)
            if len(self.evaluator.blocks):
                mask = torch.ones(1, places, places, dtype=torch.bool, device=items.device).tril()
                if real is not None:
                    mask = mask & real.flatten(0, 1).unsqueeze(1)  # (B·L, P, P)
                for block in self.evaluator.blocks:
                    x = block(x, mask)
            logits = self._read(x).unflatten(0, (-1, count))
            if self.alone is not None:
                alone = self.alone.gather(1, items.flatten(1))
                logits = logits + alone.unflatten(1, (count, places))
        return logits if self.pairs is None else logits + self._influence(self.pairs, items, real)

    def _chances(self, logits: Tensor) -> Tensor:
        found, looks = torch.sigmoid(logits), self.evaluator.log_looks(logits.shape[2])
        return found if looks is None else found * looks.exp()

    def _worth(self, chances: Tensor, held: Tensor) -> Tensor:
        chances = chances * held
        if self.evaluator.glance is None:
            places = torch.arange(chances.shape[2], device=chances.device)
            chances = chances * place_weights(places)
        return chances.sum(2)

    def _read(self, x: Tensor) -> Tensor:
        """(…) a logit of what the layers made of each place (…, v)."""
        return torch.as_tensor(self.evaluator.output(self.evaluator.norm(x)).squeeze(-1))

    def _places(self, count: int) -> Tensor:
        """(P, v) what places are to the evaluator; those beyond what was trained are the last."""
        table = self.evaluator.place
        return table[torch.arange(count, device=table.device).clamp(max=len(table) - 1)]

    def _tokens(self, items: Tensor) -> Tensor:
        """(B·L, P, v) what stands at each place of the orders (B, L, P)."""
        lists, candidates, _ = self.tokens.shape
        first = torch.arange(lists, device=items.device)[:, None, None] * candidates
        rows = (first + items).flatten(0, 1)  # (B·L, P)
        tokens = functional.embedding(rows, self.tokens.flatten(0, 1))
        return tokens + self._places(items.shape[2])

    def _influence(self, pairs: Pairs, items: Tensor, real: Tensor | None) -> Tensor:
        """(B, L, P) what the items above add to each place: items (B, L, P), real alike."""
        candidates, places = self.tokens.shape[1], items.shape[2]
        cells = items.unsqueeze(3) * candidates + items.unsqueeze(2)  # (B, L, P above, P below)
        found = pairs.influence.flatten(1).gather(1, cells.flatten(1)).view(cells.shape)
        place = torch.arange(places, device=items.device)
        distance = place - place.unsqueeze(1) - 1  # (P above, P below)
        weights = pairs.decay ** distance.clamp(min=0) * (distance >= 0)
        weighted = found * weights
        return (weighted if real is None else weighted * real.unsqueeze(3)).sum(2)
