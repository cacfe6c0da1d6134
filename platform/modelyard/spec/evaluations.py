"""What is measured and what must hold: suites, gates, and the EvaluationJob."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.spec.datasets import SourceSpec
from modelyard.spec.parts import Count, Listed, Name, Reference, ShortText, SpecPart
from modelyard.spec.placement import RuntimeSpec, StorageSpec, WorkersSpec


class SuiteSpec(SpecPart):
    """Documents and a task to score a model on."""

    name: Annotated[
        Name, Field(description="Name of the suite; metrics are named `suite/metric`. Not `train` or `validation`.")
    ]
    task: Annotated[
        Literal["perplexity"], Field(description="`perplexity`: how well every token of the documents is predicted.")
    ]
    sources: Annotated[
        Listed[SourceSpec],
        Field(max_length=1000, description="Its documents. Left out in a TrainingJob: those of `data.validation`."),
    ] = ()


class MarginSpec(SpecPart):
    """How much worse is still good enough."""

    margin: Annotated[float, Field(ge=0.0, le=1e12, description="Largest loss, absolute: in the metric's unit.")]
    confidence: Annotated[
        float, Field(ge=0.5, lt=1.0, description="Of the one-sided interval of the paired difference.")
    ] = 0.95


class GateSpec(SpecPart):
    """A bound on one metric: exactly one of `atMost`, `atLeast` and `notWorseThanBaseline`."""

    metric: Annotated[
        ShortText,
        Field(description="`suite/metric`: perplexity suites have perplexity, bits_per_byte and token_accuracy."),
    ]
    at_most: Annotated[float | None, Field(description="The metric's interval must lie at or below this.")] = None
    at_least: Annotated[float | None, Field(description="The metric's interval must lie at or above this.")] = None
    not_worse_than_baseline: Annotated[
        MarginSpec | None, Field(description="Not worse than the baseline by more than a margin, item by item.")
    ] = None


class EvaluationSpec(SpecPart):
    """What a TrainingJob measures."""

    every_steps: Annotated[
        Count | None,
        Field(description="How often training computes the loss on `data.validation`. Left out: only at the end."),
    ] = None
    suites: Annotated[Listed[SuiteSpec], Field(max_length=100, description="What the evaluate stage scores.")] = ()
    gates: Annotated[Listed[GateSpec], Field(max_length=100, description="What must hold before an alias moves.")] = ()


class SecretKeySelector(SpecPart):
    """A key of a Secret."""

    name: Annotated[ShortText, Field(description="Name of the Secret.")]
    key: Annotated[ShortText, Field(description="Key in it.")]


class EndpointSpec(SpecPart):
    """A model behind an OpenAI-shaped endpoint."""

    url: Annotated[ShortText, Field(description="Base URL, as http://host:8000/v1.")]
    model: Annotated[ShortText, Field(description="Name of the model there.")]
    api_key_secret_ref: Annotated[SecretKeySelector | None, Field(description="Where the API key is.")] = None


class TargetSpec(SpecPart):
    """What is evaluated: exactly one of `model` and `endpoint`."""

    model: Annotated[
        Reference | None, Field(description="`registry://name@alias-or-version` or a Hugging Face folder.")
    ] = None
    endpoint: Annotated[EndpointSpec | None, Field(description="A served model.")] = None


class BaselineSpec(SpecPart):
    """What the target is compared with."""

    model: Annotated[Reference, Field(description="`registry://name@alias-or-version` or a Hugging Face folder.")]
    when_missing: Annotated[
        Literal["fail", "pass"], Field(description="The verdict of comparisons when there is no such model yet.")
    ] = "fail"


class PromoteSpec(SpecPart):
    """What happens when the verdict is Passed."""

    alias: Annotated[Name, Field(description="The alias that moves to the evaluated version.")]


class EvaluationJobSpec(SpecPart):
    """The wish of an EvaluationJob."""

    target: Annotated[TargetSpec, Field(description="What is evaluated.")]
    baseline: Annotated[BaselineSpec | None, Field(description="What it is compared with.")] = None
    suites: Annotated[Listed[SuiteSpec], Field(min_length=1, max_length=100, description="What it is scored on.")]
    gates: Annotated[
        Listed[GateSpec], Field(max_length=100, description="What must hold; left out: no verdict is given.")
    ] = ()
    promote: Annotated[PromoteSpec | None, Field(description="What happens when it passed.")] = None
    workers: Annotated[WorkersSpec, Field(description="The scoring processes.")] = WorkersSpec()
    storage: Annotated[StorageSpec | None, Field(description="Cluster only: the claim that holds data and yard.")] = (
        None
    )
    runtime: Annotated[RuntimeSpec | None, Field(description="Cluster only: pods, in Kubernetes' own words.")] = None
    suspend: Annotated[bool, Field(description="Stop and hold; false goes on.")] = False
