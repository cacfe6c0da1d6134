"""ConfigMaps in memory, with faults to order: the twin of the API server for those two verbs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelyard.errors import ConflictError
from modelyard.kube import AbsentError, ConfigMap


@dataclass
class MemoryConfigMaps:
    """`before` and `after` are called around every call that would act, with its verb: they may raise, wait, write."""

    items: dict[str, ConfigMap] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str], None] = lambda verb: None
    after: Callable[[str], None] = lambda verb: None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 0

    def put(self, name: str, data: Mapping[str, str] | None = None) -> None:
        """Make or change one, as somebody else."""
        with self._lock:
            self._version += 1
            standing = self.items[name].data if name in self.items else {}
            self.items[name] = ConfigMap(name, {**standing, **(data or {})}, str(self._version))

    def get(self, name: str) -> ConfigMap:
        self.calls.append(("get", name))
        self.before("get")
        with self._lock:
            found = self._found(name)
        self.after("get")
        return found

    def patch(self, name: str, data: Mapping[str, str | None], *, resource_version: str = "") -> ConfigMap:
        self.calls.append(("patch", name))
        self.before("patch")
        with self._lock:
            standing = self._found(name)
            if resource_version not in ("", standing.resource_version):
                raise ConflictError(f"{name} was changed")
            merged = {**standing.data, **data}
            wanted = {key: value for key, value in merged.items() if value is not None}
            if wanted != standing.data:
                self._version += 1
                self.items[name] = ConfigMap(name, wanted, str(self._version))
            found = self.items[name]
        self.after("patch")
        return found

    def _found(self, name: str) -> ConfigMap:
        if name not in self.items:
            raise AbsentError(f"{name} does not exist")
        return self.items[name]
