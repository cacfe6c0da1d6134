"""Runs a module as it is, in a process whose names of Services resolve to the stand-in's network.

python -m support.kuberay.cluster_dns 127.33.1.7 modelyard_operator.runtime.main run --kubeconfig …
"""

from __future__ import annotations

import runpy
import socket
import sys
from typing import Any

from support.kuberay.lifelines import die_with_parent

_resolve = socket.getaddrinfo


def main(address: str, module: str, *words: str) -> None:
    """Resolve `*.svc` and `*.svc.cluster.local` to `address`, then run the module with these words."""
    die_with_parent()

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        inside = isinstance(name, str) and name.endswith((".svc", ".svc.cluster.local"))
        return _resolve(address if inside else host, *rest, **named)

    socket.getaddrinfo = getaddrinfo
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
