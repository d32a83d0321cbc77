"""PSAD: shared encoder, generator as teacher, scoring network as student, trained together.

    psad train datasets/ml_100k runs/psad --model psad --preset robust

`scores` and `rank` are the scoring network (PSAD-S), `generate` the generator (PSAD-G).
B lists, M candidates, T places of the shown list.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features.schema import FeatureSchema
from model.decode import remaining
from model.embed import Tensors
from model.metrics import rank_correlation
from model.psad import losses
from model.psad.config import Config
from model.psad.encoder import Encoded, Encoder
from model.psad.evaluator import Evaluator
from model.psad.improve import worth_of_exchanges
from model.psad.search import Generated, generate, worth_of
from model.psad.student import Student
from model.psad.teacher import Memory, Teacher
from model.ranker import NEVER, NO_ITEM, Batch, NeuralRanker, top_candidates

ADVISED = 3  # places of a list at which the evaluator is asked, each about every item


class Ranker(NeuralRanker):
    """Personalised semi-autoregressive generation with online knowledge distillation."""

    def __init__(self, schema: FeatureSchema, config: Config) -> None:
        super().__init__(schema)
        self.config = config
        self.encoder = Encoder(schema, config)
        heads = schema, self.encoder.kind_widths, config
        self.student = Student(*heads) if config.student else None
        self.teacher = Teacher(*heads) if config.teacher else None
        judged = config.teacher and config.evaluator
        self.evaluator = Evaluator(*heads) if judged else None
        self.beam = config.beam  # lists searched at once; may be set between calls
        self._done = 0.0
        self._elder: list[Ranker] = []  # the generator of `offline_from`, once it is needed

    @property
    def generates(self) -> bool:
        """Whether it has a generator."""
        return self.teacher is not None

    def on_progress(self, done: float) -> None:
        self._done = done

    def forward(self, tensors: Tensors) -> Tensor:
        """(B, M) logits of the scoring network; of the generator's list where it stands alone."""
        if self.student is None:
            return self._rank_scores(tensors)
        return self.student(self.encoder(tensors))

    def generated(self, tensors: Tensors) -> Generated:
        """The generator's list, searched with `beam`, refined and judged, with its chances."""
        assert self.teacher is not None, "this model was trained without a generator"
        encoded = self.encoder(tensors)
        memory = self.teacher.remember(encoded)
        judge = None if self.evaluator is None else self.evaluator.read(encoded)
        return generate(
            self.teacher, memory, judge, self.beam, self.config.refine, self.config.polish
        )

    def generate(self, batch: Batch) -> Tensor:
        """(B, T) the generator's list; -1 says "no item"."""
        return self.generated(batch.tensors).chosen

    def rank(self, batch: Batch) -> Tensor:
        if self.student is None:
            return self.generate(batch)
        return top_candidates(self.scores(batch), batch.candidate_mask, self.schema.list_size)

    def _rank_scores(self, tensors: Tensors) -> Tensor:
        """−rank in the generated list; items left out follow in incoming order."""
        chosen = self.generated(tensors).chosen
        lists, count = tensors["candidate_mask"].shape
        places = torch.arange(chosen.shape[1], device=chosen.device).expand(lists, -1)
        left_out = chosen.shape[1] + torch.arange(count, device=chosen.device)
        scores = -left_out.float().repeat(lists, 1)
        padded = torch.cat([scores, scores.new_zeros(lists, 1)], 1)  # a place for "no item"
        index = torch.where(chosen < 0, count, chosen)
        return padded.scatter(1, index, -places.float())[:, :count]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. (10): `generator`, `scorer` and `distillation`, the last already times α.

        `refinement` trains Eq. (4), `evaluator` the judge of finished lists.
        """
        config, mask = self.config, batch.candidate_mask
        encoded = self.encoder(batch.tensors)
        terms: dict[str, Tensor] = {}
        if self.student is not None:
            scores = self.student(encoded)
            terms["scorer"] = losses.scorer(scores, batch.labels, mask, config)
        goal = None
        if self.teacher is not None:
            found, goal = self._teach(encoded, batch)
            terms |= found
        elif config.offline_from and config.alpha:
            goal = self._elder_goal(batch)
        if self.student is not None and goal is not None:
            weight = config.alpha * self._warmth()  # Eq. (10)
            terms["distillation"] = weight * losses.distillation(scores, goal, mask, config)
        return terms

    def validation_loss(self, batch: Batch) -> Tensor:
        """Of scorer and evaluator: the others are at random, or against what the model itself is.

        With `context="improved"` of the evaluator alone: what the scoring network learns there is
        against the clicks on other lists. Where a generator stands alone without an evaluator, it
        is all there is.
        """
        terms = self.loss(batch)
        advised = self.config.context == "improved" and "evaluator" in terms
        names = ("evaluator",) if advised else ("scorer", "evaluator")
        kept = [terms[name] for name in names if name in terms]
        return torch.stack(kept).sum() if kept else terms["generator"]

    def worth(self, tensors: Tensors, chosen: Tensor) -> Tensor:
        """(B, L) what finished lists (B, L, T) are worth, by what `generated` chooses by."""
        assert self.teacher is not None
        encoded = self.encoder(tensors)
        judge = None if self.evaluator is None else self.evaluator.read(encoded)
        return worth_of(self.teacher, self.teacher.remember(encoded), judge, chosen)

    def _teach(self, encoded: Encoded, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """The generator's own losses, and what it has to teach (B, M)."""
        assert self.teacher is not None
        config, mask = self.config, batch.candidate_mask
        terms: dict[str, Tensor] = {}
        if self.evaluator is not None:
            terms["evaluator"] = self.evaluator.loss(encoded, batch.labels)
        if config.context == "improved":
            encoded = encoded.detached()  # what it learns is about lists, not about users and items
        memory = self.teacher.remember(encoded)
        chosen = self._context(memory, batch)
        logits = self.teacher.all_places(memory, chosen)
        left = self._left(chosen, mask)
        if config.context == "improved":
            terms |= self._improve(encoded, memory, chosen, logits)
        else:
            terms["generator"] = self._generator_loss(logits, left, chosen, batch)
            if config.refine:
                terms["refinement"] = self._refinement_loss(memory, chosen, batch)
        if self.student is None or not config.alpha:
            return terms, None
        if config.context != "rollout":  # these are not the places of the list it would make now
            return terms, self._goal(memory, mask)
        return terms, losses.target(logits, left, mask, config)

    def _improve(
        self, encoded: Encoded, memory: Memory, chosen: Tensor, logits: Tensor
    ) -> dict[str, Tensor]:
        """Losses at some places of its own list, chosen (B, T), by the evaluator's advice."""
        assert self.teacher is not None
        assert self.evaluator is not None
        mask, count = encoded.candidate_mask, min(ADVISED, chosen.shape[1])
        held = (chosen >= 0).sum(1, keepdim=True)  # (B, 1)
        drawn = torch.rand(chosen.shape, device=chosen.device) + (chosen < 0)
        places = drawn.topk(count, dim=1, largest=False).indices
        places = torch.minimum(places, held - 1)  # (B, Q) a short list is asked twice
        with torch.no_grad():
            judge = self.evaluator.read(encoded)
        worth = worth_of_exchanges(judge, chosen, mask, places)
        across = places.unsqueeze(2).expand(-1, -1, mask.shape[1])  # (B, Q, M)
        left = self._left(chosen, mask).gather(1, across)
        terms = {"generator": losses.advised(logits.gather(1, across), worth, left)}
        if self.config.refine:
            count = min(self.config.refine, count)
            hidden, across = places[:, :count].sort(1)
            worth = worth.gather(1, across.unsqueeze(2).expand(-1, -1, mask.shape[1]))
            again = self.teacher.refill(memory, chosen.unsqueeze(1), hidden.unsqueeze(1)).squeeze(1)
            left = self._left_out(chosen, hidden, mask)
            terms["refinement"] = losses.advised(again, worth, left)
        return terms

    def _goal(self, memory: Memory, mask: Tensor) -> Tensor:
        """(B, M) the target of Eq. (8) along the generator's own greedy list."""
        assert self.teacher is not None
        with torch.set_grad_enabled(self.config.mutual and torch.is_grad_enabled()):
            chosen = self._rolled_out(memory, 0.0)
            logits = self.teacher.all_places(memory, chosen)
            return losses.target(logits, self._left(chosen, mask), mask, self.config)

    @torch.no_grad()
    def _elder_goal(self, batch: Batch) -> Tensor:
        """(B, M) the target of a generator that was trained before (offline distillation)."""
        if not self._elder:
            from model.train import load_run  # which builds rankers such as this one

            assert self.config.offline_from is not None
            elder, _ = load_run(Path(self.config.offline_from))
            assert isinstance(elder, Ranker)
            self._elder.append(elder.to(batch.labels.device).eval())
        elder = self._elder[0]
        assert elder.teacher is not None
        memory = elder.teacher.remember(elder.encoder(batch.tensors))
        chosen = elder.teacher.roll_out(memory)
        logits, mask = elder.teacher.all_places(memory, chosen), batch.candidate_mask
        return losses.target(logits, remaining(chosen, mask), mask, self.config)

    def _warmth(self) -> float:
        """Share of α in force: the teacher has to know something before it teaches."""
        warmup = self.config.distillation_warmup
        return 1.0 if warmup == 0 else min(self._done / warmup, 1.0)

    def _left(self, chosen: Tensor, mask: Tensor) -> Tensor:
        """(B, T, M) what each place may still take."""
        if self.config.mask_chosen:
            return remaining(chosen, mask)
        return mask.unsqueeze(1).expand(-1, chosen.shape[1], -1)

    @torch.no_grad()
    def _context(self, memory: Memory, batch: Batch) -> Tensor:
        """(B, T) the list that the generator is trained along."""
        mask, size = batch.candidate_mask, self.schema.list_size
        if self.config.context in ("rollout", "improved"):
            return self._rolled_out(memory, self.config.exploration * (1 - self._done))
        clicked_first = self.config.context == "clicked_first"
        order = batch.labels if clicked_first else torch.zeros_like(batch.labels)
        return top_candidates(order, mask, size)

    @torch.no_grad()
    def _rolled_out(self, memory: Memory, noise: float) -> Tensor:
        """(B, T) the generator's list without dropout."""
        assert self.teacher is not None
        was_training = self.teacher.training
        self.teacher.eval()
        chosen = self.teacher.roll_out(memory, noise)
        self.teacher.train(was_training)
        return chosen

    def _generator_loss(self, logits: Tensor, left: Tensor, chosen: Tensor, batch: Batch) -> Tensor:
        if self.config.context == "exposure":
            return losses.exposed(logits, batch.labels, chosen)
        places = torch.arange(logits.shape[1], device=logits.device).unsqueeze(0)
        return losses.generative(logits, batch.labels, left, places, self.config)

    def _refinement_loss(self, memory: Memory, chosen: Tensor, batch: Batch) -> Tensor:
        """Eq. (4): γ random places hidden and predicted from those that stay."""
        assert self.teacher is not None
        lists, size = chosen.shape
        count = min(self.config.refine, size)
        # places that hold an item come first; a list shorter than γ hides empty ones, masked below
        order = torch.rand(lists, size, device=chosen.device) + (chosen < 0)
        hidden = order.topk(count, dim=1, largest=False).indices.sort(1).values
        logits = self.teacher.refill(memory, chosen.unsqueeze(1), hidden.unsqueeze(1)).squeeze(1)
        if self.config.context == "exposure":
            return losses.exposed(logits, batch.labels, chosen.gather(1, hidden))
        left = self._left_out(chosen, hidden, batch.candidate_mask)
        return losses.generative(logits, batch.labels, left, hidden, self.config)

    def _left_out(self, chosen: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, γ, M) what the places hidden (B, γ) of chosen (B, T) may take, in turn."""
        before = chosen.gather(1, hidden)
        stays = chosen.scatter(1, hidden, NO_ITEM)
        taken = ~remaining(torch.cat([stays, stays[:, :1]], 1), mask)[:, -1]
        return remaining(before, mask) & ~taken.unsqueeze(1) & (before >= 0).unsqueeze(2)

    @torch.no_grad()
    def observe(self, batch: Batch) -> dict[str, float]:
        """Entropy of the distillation target, and its rank correlation with the student."""
        if self.teacher is None or self.student is None:
            return {}
        encoded, mask = self.encoder(batch.tensors), batch.candidate_mask
        goal = self._goal(self.teacher.remember(encoded), mask)
        scores = self.student(encoded).masked_fill(~mask, NEVER)
        pair = (goal.cpu().numpy(), scores.cpu().numpy(), mask.cpu().numpy())
        correlations = rank_correlation(*pair)
        known = correlations[~np.isnan(correlations)]  # a constant correlates with nothing
        found = {"target_entropy": losses.relative_entropy(goal, mask).mean().item()}
        if len(known):
            found["target_correlation"] = float(known.mean())
        return found
