"""The manifest of a custom resource: read as a file is read, and kept as a snapshot that what runs is given."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.errors import Fault, ManifestError
from modelyard.spec import EvaluationJob, Manifest, RuntimeSpec, TrainingJob, from_dict, parse, spec_digest, to_dict
from modelyard.spec.scalars import Ambiguous, read_plain
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, GROUP, MANIFEST_KEY
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import mapping, text

Job = TrainingJob | EvaluationJob
BYTES_ANNOTATION = f"{GROUP}/manifest-digest"
# What the operator alone acts on, and may change at any time: the driver's manifest does not carry it.
_OPERATORS_OWN = ("start_deadline_seconds", "active_deadline_seconds", "ttl_seconds_after_finished")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*")  # never begins or ends what YAML takes otherwise
_DEFAULT_RUNTIME = RuntimeSpec()


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
        "spec": _without_suspend(parent.get("spec")),
    }
    try:
        return from_dict(value, origin=f"{parent['kind']}/{metadata['name']}")
    except ManifestError as error:
        return Refused("\n".join(map(_words, error.faults)))


def _without_suspend(spec: Any) -> Any:
    """The operator's own word: the rules of a run on one machine refuse it, and the driver is not to see it."""
    return {name: value for name, value in spec.items() if name != "suspend"} if isinstance(spec, Mapping) else spec


def _words(fault: Fault) -> str:
    """A fault as `modelyard validate` prints it, without the file, line and column that an object has not."""
    return f"{fault.path}: {fault.message}" + (f" ({fault.fix})" if fault.fix else "")


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
        runtime = None if runtime == _DEFAULT_RUNTIME else runtime
    spec = job.spec.model_copy(update={"suspend": False, "runtime": runtime})
    return job.model_copy(update={"spec": spec})


def digest_of(job: Job) -> str:
    """The digest of the job as it is run."""
    return spec_digest(accepted(job))


def snapshot_data(job: Job) -> dict[str, str]:
    """The `data` of the snapshot ConfigMap."""
    return {MANIFEST_KEY: "\n".join(_block(to_dict(accepted(job), defaults=True))) + "\n"}


def _block(value: Any) -> Iterator[str]:
    """The lines of a value in YAML's block style, scalars as in JSON.

    The YAML library takes 6 to 9 ms for a manifest, this a third of one: most of what planning a start would cost.
    """
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _entry(f"{_scalar(name)}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _entry("-", inner)
    else:
        yield _scalar(value)


def _entry(head: str, value: Any) -> Iterator[str]:
    if not (isinstance(value, dict | list) and value):
        yield f"{head} {_scalar(value)}"
        return
    yield head
    yield from (f"  {line}" for line in _block(value))


def _scalar(value: Any) -> str:
    """JSON, which is YAML but for characters that YAML wants escaped; a plain name stays plain."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not isinstance(read_plain(value), Ambiguous):
        return value if read_plain(value) == value else json.dumps(value)
    written = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in written)


def snapshot_marks(job: Job, data: Mapping[str, str]) -> dict[str, str]:
    """The annotations of a snapshot: what it was made of, and of which bytes."""
    return {DIGEST_ANNOTATION: digest_of(job), BYTES_ANNOTATION: _sha256(data[MANIFEST_KEY])}


def snapshot_digest(snapshot: Json | None) -> str:
    """The spec digest that a snapshot carries, when its bytes are those that were written; empty otherwise."""
    written = text(snapshot, "data", MANIFEST_KEY)
    marks = mapping(snapshot, "metadata", "annotations")
    whole = marks.get(BYTES_ANNOTATION) == _sha256(written) and len(mapping(snapshot, "data")) == 1
    return text(marks, DIGEST_ANNOTATION) if whole else ""


def snapshot_job(snapshot: Json | None) -> Job | None:
    """The job that a snapshot holds, when it is whole."""
    if not snapshot_digest(snapshot):
        return None
    try:
        (manifest,) = parse(text(snapshot, "data", MANIFEST_KEY), origin=MANIFEST_KEY)
    except (ManifestError, ValueError):
        return None
    return manifest if isinstance(manifest, TrainingJob | EvaluationJob) else None


def _sha256(written: str) -> str:
    return "sha256:" + hashlib.sha256(written.encode(errors="replace")).hexdigest()
