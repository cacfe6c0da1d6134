"""The options of an objective, each in one optional member of its name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.spec.parts import Count, Listed, Positive, Reference, Share, ShortText, SpecPart

Objective = Literal[
    "causal-lm", "masked-lm", "seq2seq", "chat", "text-classification", "token-classification",
    "question-answering", "preference", "distillation",
]  # fmt: skip


class MaskedLmSpec(SpecPart):
    """Options of masked-lm."""

    probability: Annotated[float, Field(gt=0.0, lt=1.0, description="Share of tokens that are predicted.")] = 0.15


class Seq2seqSpec(SpecPart):
    """Options of seq2seq."""

    target_length: Annotated[Count, Field(description="Longest target, in tokens.")] = 128


class ChatSpec(SpecPart):
    """Options of chat."""

    train_on: Annotated[Literal["assistant", "all"], Field(description="Whose words carry loss.")] = "assistant"


class TextClassificationSpec(SpecPart):
    """Options of text-classification."""

    labels: Annotated[
        Listed[ShortText], Field(max_length=10_000, description="The labels, in order of their numbers.")
    ] = ()


class TokenClassificationSpec(SpecPart):
    """Options of token-classification."""

    labels: Annotated[
        Listed[ShortText], Field(max_length=10_000, description="The tags, in order of their numbers.")
    ] = ()
    scheme: Annotated[Literal["iob2", "iobes", "none"], Field(description="How tags form spans.")] = "iob2"


class QuestionAnsweringSpec(SpecPart):
    """Options of question-answering."""

    stride: Annotated[Count, Field(description="Tokens shared by neighbouring windows of a long context.")] = 128


class PreferenceSpec(SpecPart):
    """Options of preference."""

    method: Annotated[Literal["dpo", "ipo", "orpo", "simpo"], Field(description="The loss.")] = "dpo"
    beta: Annotated[Positive, Field(description="Strength of the pull towards the reference.")] = 0.1
    reference: Annotated[Reference | None, Field(description="Reference model; left out: the model at its start.")] = (
        None
    )


class DistillationSpec(SpecPart):
    """Options of distillation."""

    teacher: Annotated[Reference, Field(description="The model learnt from.")]
    temperature: Annotated[Positive, Field(description="Softens both distributions.")] = 1.0
    hard_weight: Annotated[Share, Field(description="Weight of the loss on the text itself.")] = 0.5
