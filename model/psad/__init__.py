"""PSAD (Cheng et al.): a semi-autoregressive generator and the scoring network it teaches."""

from model.psad.config import PRESETS, Config
from model.psad.model import Ranker

__all__ = ["PRESETS", "Config", "Ranker"]
