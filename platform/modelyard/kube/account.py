"""A pod's own account: where the API server is, and the token and authority that the kubelet keeps in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import UsageError
from modelyard.kube.refusals import ForbiddenError

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FOLDER_VARIABLE = "MODELYARD_SERVICE_ACCOUNT_FOLDER"
NAMESPACE_VARIABLE = "MODELYARD_NAMESPACE"


@dataclass(frozen=True)
class PodAccount:
    """`server` is the API server's address, `folder` holds `token` and `ca.crt`."""

    server: str
    folder: Path
    namespace: str

    @property
    def token(self) -> str:
        """The token as it is now: the kubelet renews the file, so it is read for every request."""
        try:
            return (self.folder / "token").read_text().strip()
        except OSError as error:
            raise ForbiddenError(
                f"cannot read the ServiceAccount's token: {error}",
                hint="automountServiceAccountToken must not be false",
            ) from error

    @property
    def authority(self) -> Path:
        """The certificate authority of the API server."""
        return self.folder / "ca.crt"


def in_cluster(environment: Mapping[str, str] = os.environ) -> PodAccount | None:
    """The account of this pod when the operator made it (it sets MODELYARD_NAMESPACE); None anywhere else.

    A pod of somebody else (a notebook on a cluster) is a machine like any other. Raises UsageError when the variable
    is set where no API server can be.
    """
    namespace = environment.get(NAMESPACE_VARIABLE, "")
    if not namespace:
        return None
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if not host:
        raise UsageError(
            f"{NAMESPACE_VARIABLE} is set, KUBERNETES_SERVICE_HOST is not: this is no pod",
            hint=f"unset {NAMESPACE_VARIABLE} outside a cluster",
        )
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    return PodAccount(f"https://{address}:{port}", Path(environment.get(FOLDER_VARIABLE) or FOLDER), namespace)
