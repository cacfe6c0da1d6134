"""The status of each kind: the status document of `modelyard.records`, and what the operator adds to it.

A field that stands neither here nor there is dropped by the API server without a word: add it here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from modelyard.records import StatusDocument
from modelyard.records.record import Part
from modelyard_operator.kinds.schema import Parts, Schema, part_schema, without


class JobAdditions(Part):
    """Of a TrainingJob or EvaluationJob."""

    job_name: str | None = Field(None, description="RayJob of the newest attempt.")
    dashboard_url: str | None = Field(None, description="Ray's dashboard, inside the cluster.")


class DeploymentAdditions(Part):
    """Of a ModelDeployment."""

    replicas: int | None = Field(None, description="Replicas that there are.")
    ready_replicas: int | None = Field(None, description="Replicas that answer.")
    selector: str | None = Field(None, description="Label selector of the pods that hold replicas.")
    service_name: str | None = Field(None, description="RayService that serves.")


ADDITIONS: Mapping[str, type[Part]] = {
    "TrainingJob": JobAdditions,
    "EvaluationJob": JobAdditions,
    "ModelDeployment": DeploymentAdditions,
}
PHASES: Mapping[str, tuple[str, ...]] = {
    "TrainingJob": (
        "Pending", "Preparing", "Training", "Evaluating", "Registering", "Succeeded", "Failed", "Suspended",
    ),
    "EvaluationJob": ("Pending", "Running", "Succeeded", "Failed", "Suspended"),
    "ModelDeployment": ("Pending", "Deploying", "Ready", "Degraded", "Failed"),
}  # fmt: skip
# Far above what is ever written; in characters and items. Of every text and list, then of those that differ.
BOUNDS = {
    "maxLength": 1024,
    "maxItems": 1000,
    "message.maxLength": 32_768,
    "hint.maxLength": 32_768,
    "evidence.maxLength": 4096,
    "evidence.maxItems": 20,
    "conditions.maxItems": 32,
}
_TIMES = ("startTime", "completionTime")
_CONDITION_TYPE = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


def status_schema(kind: str) -> Schema:
    """The structural schema of `.status`; nothing in it is required but what makes a condition one."""
    made = _schema_of(StatusDocument)
    properties = {**made["properties"], **_schema_of(ADDITIONS[kind])["properties"]}
    for absent in ("kind", "name"):
        del properties[absent]
    properties["phase"]["enum"] = list(PHASES[kind])
    for name in _TIMES:
        properties[name]["format"] = "date-time"
    properties["conditions"] = _conditions(properties["conditions"])
    return {"type": "object", "description": "What is so, as the operator last saw it.", "properties": properties}


def _schema_of(part: type[Part]) -> Schema:
    given: Any = part.model_json_schema(by_alias=True)
    definitions = {**given.pop("$defs", {}), part.__name__: given}
    made = part_schema(part.__name__, Parts(_without_nulls(definitions), bounds=BOUNDS))
    # A status tells only what is known, and merge patches write parts of it.
    return without(without(made, "required"), "default")


def _without_nulls(value: Any) -> Any:
    """`X or null` is X: what is unset is left out."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    choices = [item for item in value.get("anyOf", ()) if item != {"type": "null"}]
    rest = {key: item for key, item in value.items() if key != "anyOf"}
    return {key: _without_nulls(item) for key, item in {**rest, **(choices[0] if choices else {})}.items()}


def _conditions(schema: Schema) -> Schema:
    """As metav1.Condition has it."""
    item = schema["items"]
    fields = item["properties"]
    fields["type"] |= {"maxLength": 316, "pattern": _CONDITION_TYPE}
    fields["reason"] |= {"minLength": 1, "pattern": _REASON}
    fields["lastTransitionTime"]["format"] = "date-time"
    fields["observedGeneration"]["minimum"] = 0
    item["required"] = ["type", "status", "reason", "message", "lastTransitionTime"]
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {**schema, **keyed}
