"""The three kinds of manifest: an envelope in Kubernetes' form around a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.spec.deployments import ModelDeploymentSpec
from modelyard.spec.evaluations import EvaluationJobSpec
from modelyard.spec.parts import JobName, Name, SpecPart
from modelyard.spec.placement import Labels
from modelyard.spec.training import TrainingJobSpec

API_VERSION = "modelyard.dev/v1alpha1"
ApiVersion = Literal["modelyard.dev/v1alpha1"]


class Metadata(SpecPart):
    """Who it is."""

    name: Annotated[
        JobName, Field(description="Its name: lower-case letters, digits and dashes, a letter first, at most 63.")
    ]
    namespace: Annotated[Name | None, Field(description="Cluster only: the namespace.")] = None
    labels: Annotated[Labels, Field(description="Labels.")] = {}
    annotations: Annotated[Labels, Field(description="Annotations.")] = {}


class TrainingJob(SpecPart):
    """Trains a model on text, evaluates it and registers a version."""

    api_version: Annotated[ApiVersion, Field(description="Version of this format.")] = "modelyard.dev/v1alpha1"
    kind: Annotated[Literal["TrainingJob"], Field(description="This kind.")] = "TrainingJob"
    metadata: Annotated[Metadata, Field(description="Who it is.")]
    spec: Annotated[TrainingJobSpec, Field(description="What is wished.")]


class EvaluationJob(SpecPart):
    """Scores a model on suites and gives a verdict."""

    api_version: Annotated[ApiVersion, Field(description="Version of this format.")] = "modelyard.dev/v1alpha1"
    kind: Annotated[Literal["EvaluationJob"], Field(description="This kind.")] = "EvaluationJob"
    metadata: Annotated[Metadata, Field(description="Who it is.")]
    spec: Annotated[EvaluationJobSpec, Field(description="What is wished.")]


class ModelDeployment(SpecPart):
    """Serves a model version over an OpenAI-shaped API."""

    api_version: Annotated[ApiVersion, Field(description="Version of this format.")] = "modelyard.dev/v1alpha1"
    kind: Annotated[Literal["ModelDeployment"], Field(description="This kind.")] = "ModelDeployment"
    metadata: Annotated[Metadata, Field(description="Who it is.")]
    spec: Annotated[ModelDeploymentSpec, Field(description="What is wished.")]


Manifest = TrainingJob | EvaluationJob | ModelDeployment
KINDS: dict[str, type[TrainingJob] | type[EvaluationJob] | type[ModelDeployment]] = {
    "TrainingJob": TrainingJob,
    "EvaluationJob": EvaluationJob,
    "ModelDeployment": ModelDeployment,
}
SHORT_NAMES = {"tj": "TrainingJob", "ej": "EvaluationJob", "md": "ModelDeployment"}
