"""The TrainingJob's spec: from documents to a registered model version."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from modelyard.spec.datasets import DataSpec
from modelyard.spec.evaluations import EvaluationSpec
from modelyard.spec.models import ModelSpec
from modelyard.spec.objectives import (
    ChatSpec,
    DistillationSpec,
    MaskedLmSpec,
    Objective,
    PreferenceSpec,
    QuestionAnsweringSpec,
    Seq2seqSpec,
    TextClassificationSpec,
    TokenClassificationSpec,
)
from modelyard.spec.parts import (
    Count,
    CountOrZero,
    Listed,
    Name,
    NonNegative,
    Seconds,
    Share,
    SpecPart,
    Tokens,
)
from modelyard.spec.placement import RuntimeSpec, StorageSpec, WorkersSpec

DEFAULT_BATCH_EXAMPLES = 8
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimizerSpec(SpecPart):
    """AdamW with decoupled weight decay; norms, biases and embeddings of one dimension are not decayed."""

    name: Annotated[Literal["adamw"], Field(description="The optimizer.")] = "adamw"
    learning_rate: Annotated[
        float, Field(gt=0.0, le=100.0, description="Peak learning rate, reached after the warm-up.")
    ] = 0.001
    betas: Annotated[tuple[Beta, Beta], Strict(False), Field(description="Decay of the first and second moments.")] = (
        0.9,
        0.95,
    )
    weight_decay: Annotated[NonNegative, Field(description="Decoupled weight decay of matrices.")] = 0.1


class ScheduleSpec(SpecPart):
    """How the learning rate moves over the steps."""

    name: Annotated[
        Literal["cosine", "linear", "constant", "wsd"],
        Field(description="Shape after the warm-up; `wsd` is warm-up, stable, decay."),
    ] = "cosine"
    warmup_steps: Annotated[CountOrZero, Field(description="Steps of linear rise from zero.")] = 0
    minimum_ratio: Annotated[Share, Field(description="Where it ends, as a share of the peak.")] = 0.1
    decay_steps: Annotated[Count | None, Field(description="Only wsd: how many of the last steps decay.")] = None


class OptimizationSpec(SpecPart):
    """How long, with which batches and which optimizer: exactly one of `steps`, `epochs` and `tokens`."""

    steps: Annotated[Count | None, Field(description="Optimizer steps.")] = None
    epochs: Annotated[
        float | None,
        Field(
            gt=0.0,
            le=1_000_000.0,
            description="Epochs over the training rows; a short last batch goes on into the next.",
        ),
    ] = None
    tokens: Annotated[Tokens | None, Field(description="Positions trained on, rounded up to whole steps.")] = None
    global_batch_tokens: Annotated[
        Count | None,
        Field(
            description="Positions per optimizer step over all workers: a whole number of sequences. Neither this nor "
            "`globalBatchExamples`: 8 sequences."
        ),
    ] = None
    global_batch_examples: Annotated[
        Count | None, Field(description="Sequences per optimizer step over all workers.")
    ] = None
    optimizer: Annotated[OptimizerSpec, Field(description="The optimizer.")] = OptimizerSpec()
    schedule: Annotated[ScheduleSpec, Field(description="How the learning rate moves.")] = ScheduleSpec()
    gradient_clipping: Annotated[NonNegative, Field(description="Largest global gradient norm; 0 does not clip.")] = 1.0
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Field(description="Of weights and activations in the step; masters are fp32.")
    ] = "fp32"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of weights, order and dropout.")] = 17

    @model_validator(mode="after")
    def _choose_a_batch(self) -> Self:
        """A default that depends on other fields."""
        if self.global_batch_tokens is None and self.global_batch_examples is None:
            self.__dict__["global_batch_examples"] = DEFAULT_BATCH_EXAMPLES
        return self

    def sequences_per_step(self, sequence_length: int) -> int:
        """How many sequences one optimizer step takes over all workers."""
        if self.global_batch_examples is not None:
            return self.global_batch_examples
        return max(1, (self.global_batch_tokens or 0) // sequence_length)


class OffloadSpec(SpecPart):
    """What leaves the device between uses."""

    optimizer: Annotated[Literal["none", "cpu", "nvme"], Field(description="Where optimizer state rests.")] = "none"
    parameters: Annotated[Literal["none", "cpu", "nvme"], Field(description="Where parameters rest.")] = "none"


class ShardingSpec(SpecPart):
    """How the model's state is spread over the workers; none of it changes the losses."""

    zero_stage: Annotated[
        Literal[0, 1, 2, 3],
        Field(description="DeepSpeed ZeRO: 0 replicates, 1 shards optimizer state, 2 gradients too, 3 parameters too."),
    ] = 2
    offload: Annotated[OffloadSpec, Field(description="What leaves the device between uses.")] = OffloadSpec()
    activation_checkpointing: Annotated[
        bool, Field(description="Compute activations again in the backward pass instead of keeping them.")
    ] = False
    sequence_parallel: Annotated[int, Field(ge=1, le=1024, description="Workers that share one sequence.")] = 1
    deepspeed: Annotated[
        dict[str, Any],
        Field(
            max_length=64,
            description="Further keys of DeepSpeed's configuration, in its own words; none that a field here decides.",
        ),
    ] = {}


class BestSpec(SpecPart):
    """Which checkpoint is the best."""

    metric: Annotated[Literal["validation/loss"], Field(description="What is compared.")] = "validation/loss"
    mode: Annotated[Literal["min", "max"], Field(description="Whether lower or higher is better.")] = "min"


class KeepSpec(SpecPart):
    """Which checkpoints are kept."""

    last: Annotated[Count, Field(description="How many of the newest.")] = 2
    best: Annotated[BestSpec | None, Field(description="The best one too.")] = None


class CheckpointSpec(SpecPart):
    """When the state is committed, so that a run can go on from there."""

    every_steps: Annotated[Count, Field(description="Steps between commits; one more at the end.")] = 100
    keep: Annotated[KeepSpec, Field(description="Which are kept.")] = KeepSpec()


class FaultToleranceSpec(SpecPart):
    """What happens when something fails."""

    max_restarts: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Failures in a row without a new commit, over group restarts and attempts together.",
        ),
    ] = 3
    hang_timeout_seconds: Annotated[Seconds, Field(description="A step longer than this has hung.")] = 600
    on_non_finite_loss: Annotated[
        Literal["stop"], Field(description="`stop` before the optimizer step, naming the batch.")
    ] = "stop"


class RegisterSpec(SpecPart):
    """Under which name the result becomes a model version."""

    name: Annotated[Name, Field(description="Name of the model in the registry.")]
    from_: Annotated[
        Literal["last", "best"],
        Field(alias="from", description="Which weights: of the last step or of the best checkpoint."),
    ] = "last"
    aliases: Annotated[
        Listed[Name], Field(max_length=32, description="Aliases that move to the new version when the gates pass.")
    ] = ()


with warnings.catch_warnings():
    # ABCMeta.register is an attribute of the class, not of its instances: the field shadows nothing that is used.
    warnings.filterwarnings("ignore", message='Field name "register"')

    class TrainingJobSpec(SpecPart):
        """The wish of a TrainingJob."""

        objective: Annotated[Objective, Field(description="What the model learns to do.")]
        masked_lm: Annotated[MaskedLmSpec | None, Field(description="Options of masked-lm.")] = None
        seq2seq: Annotated[Seq2seqSpec | None, Field(alias="seq2seq", description="Options of seq2seq.")] = None
        chat: Annotated[ChatSpec | None, Field(description="Options of chat.")] = None
        text_classification: Annotated[
            TextClassificationSpec | None, Field(description="Options of text-classification.")
        ] = None
        token_classification: Annotated[
            TokenClassificationSpec | None, Field(description="Options of token-classification.")
        ] = None
        question_answering: Annotated[
            QuestionAnsweringSpec | None, Field(description="Options of question-answering.")
        ] = None
        preference: Annotated[PreferenceSpec | None, Field(description="Options of preference.")] = None
        distillation: Annotated[DistillationSpec | None, Field(description="Options of distillation.")] = None
        model: Annotated[ModelSpec, Field(description="What is trained.")]
        data: Annotated[DataSpec, Field(description="What it is trained on.")]
        optimization: Annotated[OptimizationSpec, Field(description="How long, with which batches and optimizer.")]
        sharding: Annotated[ShardingSpec, Field(description="How state is spread over the workers.")] = ShardingSpec()
        workers: Annotated[WorkersSpec, Field(description="The training processes.")] = WorkersSpec()
        checkpoint: Annotated[CheckpointSpec, Field(description="When state is committed.")] = CheckpointSpec()
        fault_tolerance: Annotated[FaultToleranceSpec, Field(description="What happens when something fails.")] = (
            FaultToleranceSpec()
        )
        evaluation: Annotated[EvaluationSpec, Field(description="What is measured and must hold.")] = EvaluationSpec()
        # assigned, not annotated: pydantic would take the inherited attribute for a default
        register: RegisterSpec = Field(description="Under which name the result is kept.")
        storage: Annotated[
            StorageSpec | None, Field(description="Cluster only: the claim that holds data and yard.")
        ] = None
        runtime: Annotated[RuntimeSpec | None, Field(description="Cluster only: pods, in Kubernetes' own words.")] = (
            None
        )
        suspend: Annotated[bool, Field(description="Stop and hold; false goes on.")] = False
