"""A replica on a cluster: which version it is told to serve, proved by its digest, and the service that answers.

The operator renders the arguments; `on_ray.cluster_application` places what is made here. It knows no Ray.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.errors import IntegrityError, InvalidInputError, ModelyardError
from modelyard.infer import SamplingParams
from modelyard.registry import Registry
from modelyard.registry.index import FileIndex
from modelyard.serve.meters import Meters
from modelyard.serve.replica import ReplicaPlan, load_model
from modelyard.serve.service import Phase, Prompt, Served, Service
from modelyard.spec import EngineSpec
from modelyard.spec.quantities import quantity
from modelyard.yard import open_yard

YARD_VARIABLE = "MODELYARD_YARD"
SERVES_VARIABLE = "MODELYARD_SERVES"  # of a pod: the one version that its cluster was made for
_FIRST_PROMPT = "The"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _Resources(_Part):
    cpu: str = "1"
    gpu: int = 0


class ClusterArguments(_Part):
    """What Serve's config says: `model` is `registry://name@version`, never an alias; `digest` is over its files."""

    model: str
    digest: str
    engine: EngineSpec = EngineSpec()
    resources: _Resources = _Resources()


def read_arguments(values: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> ClusterArguments:
    """Read the arguments of a config that reached this cluster. Raises InvalidInputError.

    KubeRay may hand the config of the next version to the cluster of the one before (ray-project/kuberay 3423): a
    version for which these pods were not made is refused, and Serve goes on with what runs.
    """
    try:
        arguments = ClusterArguments.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidInputError(f"these are not the arguments of a deployment: {error}") from error
    label, here = arguments.model.removeprefix("registry://"), environment.get(SERVES_VARIABLE)
    if here is not None and here != label:
        raise InvalidInputError(f"the pods of this cluster serve {here}; {label} gets a cluster of its own")
    return arguments


def verified_plan(arguments: ClusterArguments, environment: Mapping[str, str] = os.environ) -> ReplicaPlan:
    """Find the version in the yard and hash every file of it: what is loaded is what was pinned.

    Raises NotFoundError, IntegrityError that names the damaged file or both digests, InvalidInputError.
    """
    place = environment.get(YARD_VARIABLE)
    if not place:
        raise InvalidInputError(f"{YARD_VARIABLE} is not set: where is the yard?")
    yard = open_yard(Path(place), create=False)
    registry = Registry(yard, FileIndex(yard))  # a version is its files; aliases, which an index knows, are resolved
    version = registry.resolve(arguments.model)
    if version.record.digest != arguments.digest:
        words = f"{version.label} has the digest {version.record.digest}, the deployment pins {arguments.digest}"
        raise IntegrityError(words, hint="the yard is not the one whose index the deployment was resolved by")
    registry.verify(version)
    engine = arguments.engine
    return ReplicaPlan(
        folder=str(version.folder),
        served=Served(version.record.name, version.label),
        precision=engine.precision,
        device="cuda" if arguments.resources.gpu else "cpu",
        max_sequences=engine.max_sequences,
        max_batch_tokens=engine.max_batch_tokens,
        max_sequence_length=engine.max_sequence_length,
        threads=max(1, int(quantity(arguments.resources.cpu))),
    )


async def open_service(plan: ReplicaPlan) -> Service:
    """A service on the running event loop that has answered once: nothing takes traffic that cannot."""
    service = Service(plan.served, Meters(plan.served.name))
    service.open(load_model(plan))
    ids = tuple(service.model.encode_prompt(_FIRST_PROMPT))
    async for _ in service.generate("first", [Prompt(ids, SamplingParams(max_tokens=1, ignore_eos=True))]):
        pass
    return service


def check(service: Service) -> None:
    """Raises when this replica should be replaced."""
    if service.phase is Phase.broken:
        raise ModelyardError(f"the replica is broken: {service.fault}")
