"""PSAD's configuration: every choice that the paper leaves open is one field.

Defaults are the `robust` preset; `paper` is the printed formula with only the unavoidable masks.
paper/README.md numbers the deviations.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Config(BaseModel):
    """One PSAD model. `psad train … key=value` sets any of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # what weights do not depend on: may be another in a run that begins `--from` one
    free: ClassVar[frozenset[str]] = frozenset({
        "dropout", "unknown_rate", "id_rate", "gate_stop_gradient", "gate_bias",
        "position_stop_gradient", "refine", "exploration", "step_loss", "step_loss_classes",
        "hinge", "hinge_on", "tail_weight", "mask_chosen", "beam", "beam_score", "polish",
        "evaluator_stop_gradient", "scorer_loss", "alpha", "temperature", "decay", "target",
        "distillation", "mutual", "distillation_warmup",
    })  # fmt: skip

    # embedding and encoder, section 4.1
    embedding_width: int = Field(default=8, ge=1)  # of one categorical or bag feature
    width: int = Field(default=64, ge=1)  # d
    layers: int = Field(default=1, ge=1)  # L
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    unknown_rate: float = Field(default=0.5, ge=0, lt=1)  # values hidden in training, for cold ones
    # the same of features with over 200 values, such as ids; 1: the network never reads them
    id_rate: float | None = Field(default=None, ge=0, le=1)
    attn_bias: Literal["logit", "post"] = "logit"  # Eq. (1): P inside the softmax, or as printed
    position: Literal["relative", "pair"] = "relative"  # Eq. (1): by offset, or S × S parameters
    residual: bool = True  # Eq. (2): pre-norm and residuals, or neither
    wide: bool = True  # a path from the candidate's numbers and values straight to its score
    knots: int = Field(default=4, ge=0)  # where that path bends for each number; 0 is straight
    factors: int = Field(default=0, ge=0)  # of a product of user and item; 0 is without
    order_blind: bool = False  # the order that candidates come in is no input

    # user profile network, section 4.3
    interaction: Literal["none", "concat", "late", "upn"] = "upn"  # Figure 4
    profile_width: int = Field(default=32, ge=1)  # d_u
    gate: bool = True  # Eqs. (11), (12); off is "w/o pg"
    gate_width: int = Field(default=32, ge=1)  # of its hidden layers, which are not printed
    gate_stop_gradient: bool = True  # the ⊙ before X in Eq. (11)
    gate_add_profile: bool = True  # "combined with the projected user profile"
    gate_bias: float = 3.0  # S starts at sigmoid(3) = 0.95; the print has 0
    personal_position: bool = True  # Eq. (13); off is "w/o ppe"
    position_stop_gradient: bool = True  # the ⊙ before P_u in Eq. (13)

    # semi-autoregressive generator, section 4.2
    teacher: bool = True  # off trains the scoring network alone
    student: bool = True  # off trains the generator alone (PSAD-G)
    block_size: int = Field(default=3, ge=1)  # K; 1 is AR, T or more is NAR ("w/o sa")
    teacher_layers: int = Field(default=1, ge=1)
    refine: int = Field(default=1, ge=0)  # γ, positions masked and refilled; 0 is "w/o ce"
    # training state, Eq. (3): lists it makes itself, clicked items first, the list that was shown,
    # or lists it makes itself, learning what the evaluator thinks of every other choice
    context: Literal["rollout", "clicked_first", "exposure", "improved"] = "rollout"
    exploration: float = Field(default=1.0, ge=0)  # sampling noise of the roll-out, annealed to 0
    step_loss: Literal["binary", "softmax"] = "softmax"  # Eq. (6) with both classes, or list-wise
    step_loss_classes: Literal["both", "positive"] = "both"  # Eq. (6) as printed: positives alone
    hinge: float = Field(default=0.0, ge=0)  # weight of the hinge of Eq. (6)
    hinge_on: Literal["logits", "probabilities"] = "logits"
    tail_weight: float = Field(default=0.01, ge=0)  # keeps places trained once positives ran out
    mask_chosen: bool = True  # an item chosen earlier cannot be chosen again, also in training
    # influence of each item on those below, which adds up, inside a block too: by what the encoder
    # makes of the two, or by their kinds alone
    pairs: Literal["none", "encoded", "kinds"] = "encoded"

    # inference of the generator
    beam: int = Field(default=4, ge=1)  # lists searched at once; 1 is greedy
    beam_score: Literal["likelihood", "utility"] = "likelihood"  # Σ log p, or Σ click probability
    evaluator: bool = True  # PRM judges the finished lists; off takes the beam's best
    evaluator_width: int = Field(default=32, ge=1)
    evaluator_heads: int = Field(default=2, ge=1)
    evaluator_layers: int = Field(default=1, ge=0)  # 0: what is above matters by `pairs` alone
    # rounds of swaps of neighbours that the evaluator approves
    polish: int = Field(default=0, ge=0)
    evaluator_stop_gradient: bool = True  # its loss does not move the encoder

    # student and online distillation, section 4.2
    scorer_loss: Literal["binary", "softmax", "positive"] = "softmax"  # Eq. (7); positive: printed
    alpha: float = Field(default=0.5, ge=0)  # Eq. (10)
    temperature: float = Field(default=1.0, gt=0)  # τ of Eqs. (8), (9)
    decay: float | Literal["dcg"] = 0.5  # λ of e^(−λj) in Eq. (8), or the DCG discount
    target: Literal["placed", "left", "valid"] = "placed"  # Eq. (8): see losses.target
    distillation: Literal["logits", "printed"] = "logits"  # Eqs. (8), (9) on logits, or sigmoids
    mutual: bool = False  # let the distillation reach the teacher, as printed
    distillation_warmup: float = Field(default=0.2, ge=0, le=1)  # share of training until full α
    offline_from: str | None = None  # run of a generator that teaches instead, trained and fixed

    @property
    def clicks_depend_on_place(self) -> bool:
        """Whether labels are read as clicks in the list that was shown, place and all."""
        return self.context in ("exposure", "improved")

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if self.evaluator_width % self.evaluator_heads:
            raise ValueError(
                f"evaluator_width {self.evaluator_width} does not divide into "
                f"{self.evaluator_heads} evaluator_heads"
            )
        if not (self.teacher or self.student):
            raise ValueError("teacher and student are both off, so that nothing would be trained")
        if self.context == "improved" and self.teacher and not self.evaluator:
            raise ValueError("context=improved improves lists by the evaluator, which is off")
        if self.polish and self.teacher and not self.evaluator:
            raise ValueError("polish takes the swaps that the evaluator approves, which is off")
        if self.offline_from and (self.teacher or not self.student):
            raise ValueError("offline_from teaches a student alone: set teacher=false")
        return self


PAPER: dict[str, Any] = {
    "target": "valid",
    "embedding_width": 16,
    "layers": 2,
    "attn_bias": "post",
    "position": "pair",
    "residual": False,
    "wide": False,
    "factors": 0,
    "unknown_rate": 0.0,
    "gate_bias": 0.0,
    "gate_width": 64,
    "step_loss": "binary",
    "step_loss_classes": "positive",
    "hinge": 1.0,
    "hinge_on": "probabilities",
    "tail_weight": 0.0,
    "mask_chosen": False,
    "pairs": "none",
    "scorer_loss": "positive",
    "decay": 1.0,
    "distillation": "printed",
    "mutual": True,
    "distillation_warmup": 0.0,
}

# the demonstration's: the robust model with half the width, for a minute's training
DEMO: dict[str, Any] = {"width": 32, "epochs": 8}

# for logs whose `position` is where an item was shown, and whose clicks depend on what was shown
# above it: the generator learns to make the list of most clicks
SHOWN: dict[str, Any] = {
    "context": "improved",
    "select": "loss",
    "order_blind": True,
    "evaluator_stop_gradient": False,
    "evaluator_layers": 0,
    "polish": 4,
    "scorer_loss": "binary",
    "factors": 16,
    "pairs": "kinds",
    "learning_rate": 0.004,
    "batch_size": 64,
}

PRESETS: dict[str, dict[str, Any]] = {
    "robust": {}, "paper": PAPER, "demo": DEMO, "shown": SHOWN
}  # fmt: skip
