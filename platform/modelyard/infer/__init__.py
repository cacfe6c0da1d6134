"""A model folder loaded and answering: scheduling, sampling, streaming, scoring. No HTTP, no names of models.

`open_model` is the door; `serve` steps an `Engine` over it, `evaluate` scores through it. Importing this is light.
"""

from modelyard.infer.engine import Engine
from modelyard.infer.model import Model, open_model
from modelyard.infer.requests import (
    Completion,
    FinishReason,
    Request,
    SamplingParams,
    ScoreItem,
    Scores,
    TokenEvent,
    TokenLogprob,
)

__all__ = [
    "Completion",
    "Engine",
    "FinishReason",
    "Model",
    "Request",
    "SamplingParams",
    "ScoreItem",
    "Scores",
    "TokenEvent",
    "TokenLogprob",
    "open_model",
]
