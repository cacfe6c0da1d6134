"""The ModelDeployment's spec: a model version behind an endpoint."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelyard.spec.evaluations import GateSpec, SecretKeySelector, SuiteSpec
from modelyard.spec.parts import Count, Listed, Path, Positive, Reference, Seconds, ShortText, SpecPart
from modelyard.spec.placement import ResourcesSpec, RuntimeSpec, StorageSpec


class EngineSpec(SpecPart):
    """What computes the tokens."""

    name: Annotated[Literal["transformers", "vllm"], Field(description="Which engine.")] = "transformers"
    precision: Annotated[Literal["fp32", "bf16", "fp16"], Field(description="Of weights and activations.")] = "fp32"
    max_sequences: Annotated[int, Field(ge=1, le=4096, description="Sequences that advance together.")] = 16
    max_batch_tokens: Annotated[Count, Field(description="Tokens computed in one step, prompts included.")] = 4096
    max_sequence_length: Annotated[
        Count | None, Field(description="Longest prompt and answer together, in tokens. Left out: the model's own.")
    ] = None


class AutoscalingSpec(SpecPart):
    """Replicas by load."""

    min_replicas: Annotated[int, Field(ge=0, le=10_000, description="Fewest; 0 sleeps when nobody asks.")] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10_000, description="Most.")]
    target_ongoing_requests: Annotated[
        Positive, Field(description="Requests in flight per replica that are aimed at.")
    ] = 8.0
    scale_down_delay_seconds: Annotated[Seconds, Field(description="How long load must be low.")] = 300


class RolloutEvaluationSpec(SpecPart):
    """What a new version must pass before it serves; the baseline is the version now served."""

    suites: Annotated[Listed[SuiteSpec], Field(max_length=100, description="What it is scored on.")] = ()
    gates: Annotated[Listed[GateSpec], Field(max_length=100, description="What must hold.")] = ()


class RolloutSpec(SpecPart):
    """How a new version replaces the one now served."""

    strategy: Annotated[
        Literal["surge", "canary", "inPlace"],
        Field(description="`surge`: the new one stands ready before the old one goes."),
    ] = "surge"
    deadline_seconds: Annotated[Seconds, Field(description="Longest time until the new version is ready.")] = 1800
    evaluation: Annotated[RolloutEvaluationSpec | None, Field(description="What a new version must pass first.")] = None


class ApiSpec(SpecPart):
    """The HTTP endpoint."""

    host: Annotated[ShortText, Field(description="Local only: the address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535, description="Local only: the port; 0 takes a free one.")] = 8000
    keys_file: Annotated[Path | None, Field(description="Local only: file with API keys.")] = None
    keys_secret_ref: Annotated[SecretKeySelector | None, Field(description="Cluster only: Secret with API keys.")] = (
        None
    )


class ModelDeploymentSpec(SpecPart):
    """The wish of a ModelDeployment: exactly one of `replicas` and `autoscaling`."""

    model: Annotated[
        Reference, Field(description="What is served: `registry://name@alias-or-version` or a Hugging Face folder.")
    ]
    engine: Annotated[EngineSpec, Field(description="What computes the tokens.")] = EngineSpec()
    replicas: Annotated[
        int | None, Field(ge=0, le=10_000, description="How many. Left out, without `autoscaling`: 1.")
    ] = None
    autoscaling: Annotated[AutoscalingSpec | None, Field(description="Replicas by load.")] = None
    resources: Annotated[ResourcesSpec, Field(description="What each replica gets.")] = ResourcesSpec()
    rollout: Annotated[RolloutSpec, Field(description="How a new version replaces the old.")] = RolloutSpec()
    api: Annotated[ApiSpec, Field(description="The HTTP endpoint.")] = ApiSpec()
    storage: Annotated[StorageSpec | None, Field(description="Cluster only: the claim that holds data and yard.")] = (
        None
    )
    runtime: Annotated[RuntimeSpec | None, Field(description="Cluster only: pods, in Kubernetes' own words.")] = None

    @model_validator(mode="after")
    def _one_replica(self) -> Self:
        """A default that depends on other fields."""
        if self.replicas is None and self.autoscaling is None:
            self.__dict__["replicas"] = 1
        return self
