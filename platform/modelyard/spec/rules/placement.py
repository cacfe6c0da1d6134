"""Rules of workers, resources, storage and runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelyard.spec.documents import Location
from modelyard.spec.parts import SpecPart
from modelyard.spec.placement import EnvVar, ResourcesSpec, RuntimeSpec, StorageSpec, WorkersSpec
from modelyard.spec.quantities import quantity
from modelyard.spec.rules.objections import Objection, exactly_one, repeated
from modelyard.spec.rules.references import check_path
from modelyard.spec.rules.secrets import check_env_name

LEAST_MEMORY_BYTES = 64 * 2**20  # less cannot hold a Python process with torch; smaller is a forgotten unit


def check_workers(workers: WorkersSpec, place: Location) -> Iterator[Objection]:
    """Fewer workers than `count` are not built yet; more make no sense."""
    yield from check_resources(workers.resources, (*place, "resources"))
    least = workers.min_count
    if least is not None and least > workers.count:
        yield Objection((*place, "minCount"), f"is {least}, more than count: {workers.count}", "at most count")
    elif least is not None and least < workers.count:
        yield Objection((*place, "minCount"), "below count (elastic workers) is not built yet", "leave it out", True)


def check_resources(resources: ResourcesSpec, place: Location) -> Iterator[Objection]:
    """There is something to run on, and memory has its unit."""
    yield from check_cpu(resources.cpu, (*place, "cpu"))
    yield from check_memory(resources.memory, (*place, "memory"))


def check_cpu(cpu: str, place: Location) -> Iterator[Objection]:
    """More than none."""
    if quantity(cpu) <= 0:
        yield Objection(place, f"is {cpu}, must be more than 0", 'write "1", say')


def check_memory(memory: str, place: Location) -> Iterator[Objection]:
    """Enough for a process; a bare small number has lost its unit."""
    if quantity(memory) < LEAST_MEMORY_BYTES:
        hint = f"write {memory}Gi" if memory.isdigit() else "write 2Gi, say"
        yield Objection(place, f"is {memory}, which is {quantity(memory):f} bytes; a process needs 64Mi or more", hint)


def check_cluster(spec: Any, place: Location) -> Iterator[Objection]:
    """Storage and runtime are well formed; locally they are not used."""
    storage: StorageSpec | None = spec.storage
    if storage is not None and storage.sub_path is not None:
        yield from check_path(storage.sub_path, (*place, "storage", "subPath"))
    if spec.runtime is not None:
        yield from check_runtime(spec.runtime, (*place, "runtime"))


def check_runtime(runtime: RuntimeSpec, place: Location) -> Iterator[Objection]:
    """Each variable has one value, each volume one source, no secret stands in clear."""
    yield from check_env(runtime.env, (*place, "env"))
    yield from check_cpu(runtime.head.cpu, (*place, "head", "cpu"))
    yield from check_memory(runtime.head.memory, (*place, "head", "memory"))
    yield from _one_member(runtime.env_from, ("secret_ref", "config_map_ref"), (*place, "envFrom"))
    sources = ("persistent_volume_claim", "config_map", "secret", "empty_dir")
    yield from _one_member(runtime.volumes, sources, (*place, "volumes"))
    yield from repeated([volume.name for volume in runtime.volumes], (*place, "volumes"))


def check_env(env: Sequence[EnvVar], place: Location) -> Iterator[Objection]:
    """`value` or `valueFrom`; a secret only by reference."""
    for index, variable in enumerate(env):
        here = (*place, index)
        yield from exactly_one({"value": variable.value, "valueFrom": variable.value_from}, here)
        if variable.value_from is not None:
            yield from _one_member(
                [variable.value_from], ("secret_key_ref", "config_map_key_ref"), (*here, "valueFrom"), False
            )
        if variable.value:
            yield from check_env_name(variable.name, (*here, "value"))
    yield from repeated([variable.name for variable in env], place)


def _one_member(
    parts: Sequence[SpecPart], names: Sequence[str], place: Location, listed: bool = True
) -> Iterator[Objection]:
    for index, part in enumerate(parts):
        values = {type(part).model_fields[name].alias or name: getattr(part, name) for name in names}
        yield from exactly_one(values, (*place, index) if listed else place)
