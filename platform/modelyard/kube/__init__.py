"""The Kubernetes API server as a pod of ours sees it: its own ServiceAccount, and ConfigMaps it may get and patch.

No kubernetes package: two verbs over httpx. The driver's status and the registry's index go through here; whoever
calls decides what a refusal means. Nothing here is used outside a cluster; only `server` imports httpx.
"""

from modelyard.kube.account import PodAccount, in_cluster
from modelyard.kube.configmaps import ConfigMap, ConfigMaps
from modelyard.kube.refusals import AbsentError, ForbiddenError, KubeError, RefusedError, UnreachableError

__all__ = [
    "AbsentError",
    "ConfigMap",
    "ConfigMaps",
    "ForbiddenError",
    "KubeError",
    "PodAccount",
    "RefusedError",
    "UnreachableError",
    "in_cluster",
]
