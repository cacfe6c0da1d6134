"""What is trained: the model's origin, its adapter and its tokenizer."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from modelyard.spec.parts import Count, Listed, Positive, Reference, Share, ShortText, SpecPart

ConfigKeys = Annotated[dict[str, Any], Field(max_length=512)]


class TokenizerTrainSpec(SpecPart):
    """A tokenizer trained on the training documents."""

    algorithm: Annotated[
        Literal["bpe"],
        Field(description="How it is trained: `bpe` is byte-level byte-pair encoding; every text can be encoded."),
    ] = "bpe"
    vocab_size: Annotated[
        int,
        Field(
            ge=257,
            le=1_000_000,
            description="Entries of the vocabulary: 256 bytes, the special token and the merges. A small corpus may "
            "fill fewer.",
        ),
    ] = 4096


class TokenizerSpec(SpecPart):
    """Where the tokenizer comes from: exactly one of `train` and `from`."""

    train: Annotated[TokenizerTrainSpec | None, Field(description="Train one on this job's training documents.")] = None
    from_: Annotated[
        Reference | None,
        Field(
            alias="from",
            description="Take an existing one: a Hugging Face folder, `registry://name@version` or "
            "`hf://org/name@revision`.",
        ),
    ] = None


class LoraSpec(SpecPart):
    """Low-rank adapters beside frozen weights."""

    rank: Annotated[Count, Field(description="Rank of the two factors.")] = 16
    alpha: Annotated[Positive, Field(description="The adapter's output is scaled by alpha / rank.")] = 32.0
    dropout: Annotated[Share, Field(description="Dropout before the adapter.")] = 0.0
    targets: Annotated[
        Listed[ShortText], Field(max_length=1000, description="Names of the modules that get one, as `q_proj`.")
    ] = ()


class AdapterSpec(SpecPart):
    """Train a few added weights instead of all."""

    lora: Annotated[LoraSpec | None, Field(description="Low-rank adapters.")] = None


class ModelSpec(SpecPart):
    """The model: exactly one of `architecture`, `from` and `module`."""

    architecture: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=64)] | None,
        Field(description="Random weights of this transformers `model_type`: llama, qwen3, gpt2, mistral and others."),
    ] = None
    config: Annotated[
        ConfigKeys,
        Field(
            description="Keys of the architecture's transformers configuration, in its own words (`hidden_size`, …). "
            "What is left out "
            "takes transformers' default, which is often large. Vocabulary size, special token ids and "
            "maximum positions are derived."
        ),
    ] = {}
    from_: Annotated[
        Reference | None,
        Field(
            alias="from",
            description="Start from these weights: a Hugging Face folder, `registry://name@alias-or-version` or "
            "`hf://org/name@revision`.",
        ),
    ] = None
    module: Annotated[
        Reference | None, Field(description="A PyTorch module of one's own, as `package.file:function`.")
    ] = None
    adapter: Annotated[AdapterSpec | None, Field(description="Train an adapter instead of all weights.")] = None
    tokenizer: Annotated[
        TokenizerSpec | None,
        Field(
            description="The tokenizer. Left out: with `from` the model's own; otherwise a byte-level BPE of 4096 "
            "entries is trained."
        ),
    ] = None

    @model_validator(mode="after")
    def _train_a_tokenizer(self) -> Self:
        """A default that depends on other fields: weights that start at random have no tokenizer of their own."""
        if self.tokenizer is None and self.from_ is None:
            self.__dict__["tokenizer"] = TokenizerSpec(train=TokenizerTrainSpec())
        return self
