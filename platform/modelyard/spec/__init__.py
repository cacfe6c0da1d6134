"""What is wished: the manifests as frozen types, read with every fault at once, with defaults and digests.

Light: imports pydantic and ruamel.yaml only. Called by every room that acts on a manifest.
"""

from modelyard.spec.datasets import ColumnsSpec, DataSpec, SourceSpec, ValidationSpec
from modelyard.spec.deployments import ApiSpec, EngineSpec, ModelDeploymentSpec, RolloutSpec
from modelyard.spec.digests import spec_digest, training_digest
from modelyard.spec.evaluations import EvaluationJobSpec, EvaluationSpec, GateSpec, SuiteSpec, TargetSpec
from modelyard.spec.explaining import explain
from modelyard.spec.loading import check, from_dict, load, parse
from modelyard.spec.manifests import (
    API_VERSION,
    KINDS,
    EvaluationJob,
    Manifest,
    Metadata,
    ModelDeployment,
    TrainingJob,
)
from modelyard.spec.models import ModelSpec, TokenizerSpec, TokenizerTrainSpec
from modelyard.spec.notes import local_notes
from modelyard.spec.placement import ResourcesSpec, RuntimeSpec, StorageSpec, WorkersSpec
from modelyard.spec.quantities import quantity
from modelyard.spec.schemas import json_schema
from modelyard.spec.training import (
    BestSpec,
    CheckpointSpec,
    FaultToleranceSpec,
    KeepSpec,
    OptimizationSpec,
    OptimizerSpec,
    RegisterSpec,
    ScheduleSpec,
    ShardingSpec,
    TrainingJobSpec,
)
from modelyard.spec.writing import to_dict, to_yaml

__all__ = [
    "API_VERSION",
    "KINDS",
    "ApiSpec",
    "BestSpec",
    "CheckpointSpec",
    "ColumnsSpec",
    "DataSpec",
    "EngineSpec",
    "EvaluationJob",
    "EvaluationJobSpec",
    "EvaluationSpec",
    "FaultToleranceSpec",
    "GateSpec",
    "KeepSpec",
    "Manifest",
    "Metadata",
    "ModelDeployment",
    "ModelDeploymentSpec",
    "ModelSpec",
    "OptimizationSpec",
    "OptimizerSpec",
    "RegisterSpec",
    "ResourcesSpec",
    "RolloutSpec",
    "RuntimeSpec",
    "ScheduleSpec",
    "ShardingSpec",
    "SourceSpec",
    "StorageSpec",
    "SuiteSpec",
    "TargetSpec",
    "TokenizerSpec",
    "TokenizerTrainSpec",
    "TrainingJob",
    "TrainingJobSpec",
    "ValidationSpec",
    "WorkersSpec",
    "check",
    "explain",
    "from_dict",
    "json_schema",
    "load",
    "local_notes",
    "parse",
    "quantity",
    "spec_digest",
    "to_dict",
    "to_yaml",
    "training_digest",
]
