"""ConfigMaps of the pod's namespace: what one is, and the two verbs that our Roles grant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class ConfigMap(NamedTuple):
    """A ConfigMap as the server has it."""

    name: str
    data: Mapping[str, str]
    resource_version: str


class ConfigMaps(Protocol):
    """The two verbs that our Roles grant. Both raise KubeError."""

    def get(self, name: str) -> ConfigMap:
        """One ConfigMap."""

    def patch(self, name: str, data: Mapping[str, str | None], *, resource_version: str = "") -> ConfigMap:
        """Set keys of its data (None removes one); with a resourceVersion only of that very state: ConflictError."""
