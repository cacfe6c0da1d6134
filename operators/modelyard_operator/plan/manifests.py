"""The manifest of a custom resource: read as a file is read, and kept as a snapshot that what runs is given."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import ManifestError
from modelyard.spec import EvaluationJob, Manifest, TrainingJob, from_dict, parse, spec_digest, to_yaml
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, MANIFEST_KEY
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import dig, text

Job = TrainingJob | EvaluationJob
# What the operator alone acts on, and may change at any time: the driver's manifest does not carry it.
_OPERATORS_OWN = ("start_deadline_seconds", "active_deadline_seconds", "ttl_seconds_after_finished")


@dataclass(frozen=True)
class Refused:
    """Why a manifest cannot be taken, in the words of `modelyard validate`."""

    message: str


def manifest_of(parent: Json) -> Manifest | Refused:
    """The manifest that a custom resource holds; what the server adds to it (status, metadata) is no part of that."""
    metadata = parent["metadata"]
    value = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": parent.get("spec"),
    }
    try:
        return from_dict(value, origin=f"{parent['kind']}/{metadata['name']}")
    except ManifestError as error:
        return Refused(str(error))


def job_of(parent: Json) -> Job | Refused:
    """The TrainingJob or EvaluationJob that a custom resource holds."""
    manifest = manifest_of(parent)
    if isinstance(manifest, TrainingJob | EvaluationJob | Refused):
        return manifest
    return Refused(f"{manifest.kind} is not a job")


def accepted(job: Job) -> Job:
    """The job as it is run: without what the operator alone acts on, so that a change of that changes nothing here."""
    runtime = job.spec.runtime
    if runtime is not None:
        fields = type(runtime).model_fields
        runtime = runtime.model_copy(update={name: fields[name].default for name in _OPERATORS_OWN})
    spec = job.spec.model_copy(update={"suspend": False, "runtime": runtime})
    return job.model_copy(update={"spec": spec})


def digest_of(job: Job) -> str:
    """The digest of the job as it is run."""
    return spec_digest(accepted(job))


def snapshot_data(job: Job) -> dict[str, str]:
    """The `data` of the snapshot ConfigMap."""
    return {MANIFEST_KEY: to_yaml(accepted(job), defaults=True)}


def snapshot_job(snapshot: Json | None) -> Job | None:
    """The job that a snapshot holds, when it is whole: its bytes are those whose digest it carries."""
    written = text(snapshot, "data", MANIFEST_KEY)
    try:
        (manifest,) = parse(written, origin=MANIFEST_KEY)
    except (ManifestError, ValueError):
        return None
    if not isinstance(manifest, TrainingJob | EvaluationJob):
        return None
    noted = dig(snapshot, "metadata", "annotations", DIGEST_ANNOTATION)
    return manifest if noted == spec_digest(manifest) else None
