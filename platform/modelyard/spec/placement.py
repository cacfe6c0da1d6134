"""Where it runs: workers, storage and what only a cluster needs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from modelyard.spec.parts import CountOrZero, JobName, Listed, Name, Path, Quantity, Seconds, ShortText, SpecPart

LabelText = Annotated[str, StringConstraints(max_length=32_768)]  # annotations may be long; labels have 63, pods say
Labels = Annotated[dict[str, LabelText], Field(max_length=256)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=256)]


class ResourcesSpec(SpecPart):
    """What one worker or replica gets."""

    cpu: Annotated[Quantity, Field(description="CPUs, as a Kubernetes quantity.")] = "1"
    memory: Annotated[Quantity, Field(description="Memory, as a Kubernetes quantity.")] = "2Gi"
    gpu: Annotated[int, Field(ge=0, le=64, description="GPUs.")] = 0
    extended: Annotated[
        dict[str, Quantity], Field(max_length=32, description="Other resources by name, as `rdma/ib`.")
    ] = {}


class WorkersSpec(SpecPart):
    """The training processes."""

    count: Annotated[int, Field(ge=1, le=65_536, description="How many.")] = 1
    min_count: Annotated[
        int | None,
        Field(ge=1, le=65_536, description="Go on with this many when no more can be had. Left out: `count`."),
    ] = None
    per_pod: Annotated[
        int, Field(ge=1, le=64, description="Workers that share a pod on a cluster; 8 on an 8-GPU node.")
    ] = 1
    resources: Annotated[ResourcesSpec, Field(description="What each worker gets.")] = ResourcesSpec()


class StorageSpec(SpecPart):
    """Cluster only: the claim that holds data and yard."""

    claim_name: Annotated[JobName, Field(description="Name of the PersistentVolumeClaim.")]
    sub_path: Annotated[Path | None, Field(description="Folder of it that is the storage root.")] = None


class KeySelector(SpecPart):
    """A key of a Secret or ConfigMap."""

    name: Annotated[ShortText, Field(description="Name of the object.")]
    key: Annotated[ShortText, Field(description="Key in it.")]
    optional: Annotated[bool, Field(description="Whether it may be missing.")] = False


class EnvSource(SpecPart):
    """Where a variable's value comes from: exactly one."""

    secret_key_ref: Annotated[KeySelector | None, Field(description="A key of a Secret.")] = None
    config_map_key_ref: Annotated[KeySelector | None, Field(description="A key of a ConfigMap.")] = None


class EnvVar(SpecPart):
    """An environment variable: `value` or `valueFrom`."""

    name: Annotated[EnvName, Field(description="Its name.")]
    value: Annotated[
        Annotated[str, StringConstraints(max_length=32_768)] | None,
        Field(description="Its value; never a secret: those come by `valueFrom`."),
    ] = None
    value_from: Annotated[EnvSource | None, Field(description="Where the value comes from.")] = None


class ObjectName(SpecPart):
    """Names an object of the namespace."""

    name: Annotated[ShortText, Field(description="Its name.")]


class EnvFromSource(SpecPart):
    """All keys of an object as variables: exactly one of `secretRef` and `configMapRef`."""

    prefix: Annotated[ShortText | None, Field(description="Put before each name.")] = None
    secret_ref: Annotated[ObjectName | None, Field(description="A Secret.")] = None
    config_map_ref: Annotated[ObjectName | None, Field(description="A ConfigMap.")] = None


class ClaimVolume(SpecPart):
    """A PersistentVolumeClaim."""

    claim_name: Annotated[ShortText, Field(description="Its name.")]


class SecretVolume(SpecPart):
    """A Secret as files."""

    secret_name: Annotated[ShortText, Field(description="Its name.")]


class EmptyDirVolume(SpecPart):
    """Scratch space that goes with the pod."""

    medium: Annotated[Literal["", "Memory"], Field(description="`Memory` for RAM.")] = ""
    size_limit: Annotated[Quantity | None, Field(description="Largest size.")] = None


class VolumeSpec(SpecPart):
    """A volume and where it is mounted: exactly one source, never hostPath."""

    name: Annotated[Name, Field(description="Its name.")]
    mount_path: Annotated[Path, Field(description="Where it appears in the pod.")]
    read_only: Annotated[bool, Field(description="Mounted read-only.")] = False
    persistent_volume_claim: Annotated[ClaimVolume | None, Field(description="A claim.")] = None
    config_map: Annotated[ObjectName | None, Field(description="A ConfigMap as files.")] = None
    secret: Annotated[SecretVolume | None, Field(description="A Secret as files.")] = None
    empty_dir: Annotated[EmptyDirVolume | None, Field(description="Scratch space.")] = None


class HeadSpec(SpecPart):
    """The pod that holds Ray's head and the driver."""

    cpu: Annotated[Quantity, Field(description="CPUs.")] = "1"
    memory: Annotated[Quantity, Field(description="Memory.")] = "4Gi"


class Toleration(SpecPart):
    """core/v1 Toleration."""

    key: Annotated[ShortText | None, Field(description="Taint key; left out: all.")] = None
    operator: Annotated[Literal["Exists", "Equal"], Field(description="How key and value are compared.")] = "Equal"
    value: Annotated[str | None, Field(max_length=256, description="Taint value.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None, Field(description="Taint effect; left out: all.")
    ] = None
    toleration_seconds: Annotated[CountOrZero | None, Field(description="How long NoExecute is tolerated.")] = None


class RuntimeSpec(SpecPart):
    """Cluster only: pods, in Kubernetes' own words. Locally it is not used."""

    image: Annotated[
        ShortText | None, Field(description="Image of head and workers; left out: the chart's platform image.")
    ] = None
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None, Field(description="When the image is pulled.")
    ] = None
    image_pull_secrets: Annotated[
        Listed[ObjectName], Field(max_length=100, description="Secrets to pull it with.")
    ] = ()
    env: Annotated[Listed[EnvVar], Field(max_length=1000, description="Environment variables.")] = ()
    env_from: Annotated[
        Listed[EnvFromSource], Field(max_length=100, description="All keys of these objects as variables.")
    ] = ()
    volumes: Annotated[Listed[VolumeSpec], Field(max_length=100, description="Further volumes.")] = ()
    shared_memory: Annotated[Quantity | None, Field(description="Size of /dev/shm.")] = None
    head: Annotated[HeadSpec, Field(description="The pod of Ray's head and the driver.")] = HeadSpec()
    queue: Annotated[Name | None, Field(description="Kueue LocalQueue that admits the job.")] = None
    gpu_resource: Annotated[ShortText, Field(description="Resource name of a GPU.")] = "nvidia.com/gpu"
    start_deadline_seconds: Annotated[Seconds, Field(description="Longest wait for image and capacity.")] = 3600
    active_deadline_seconds: Annotated[
        Seconds | None, Field(description="Longest time for the whole job, all attempts together.")
    ] = None
    ttl_seconds_after_finished: Annotated[
        CountOrZero | None, Field(description="When the finished job object is deleted; yard and registry stay.")
    ] = None
    labels: Annotated[Labels, Field(description="Labels of the pods.")] = {}
    annotations: Annotated[Labels, Field(description="Annotations of the pods.")] = {}
    node_selector: Annotated[Labels, Field(description="Labels a node must have.")] = {}
    affinity: Annotated[dict[str, Any], Field(description="core/v1 Affinity, handed on as it is.", max_length=3)] = {}
    tolerations: Annotated[Listed[Toleration], Field(max_length=100, description="Taints that are tolerated.")] = ()
    service_account_name: Annotated[Name | None, Field(description="Service account of the pods.")] = None
    priority_class_name: Annotated[ShortText | None, Field(description="Priority class of the pods.")] = None
