"""The operator's lives: processes that are ended by SIGKILL."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.kuberay.pod_environment import with_tests

_WRITES = re.compile(r"\b(Create|Patch|Delete|Emit) ")


class Life(NamedTuple):
    """How long an operator lived after it had read the cluster, and whether it had begun to write."""

    seconds: float
    wrote: bool


class Operator:
    """One life. It runs without a Lease: a killed leader's is honoured for 15 s, which is another test's.

    Names of Services resolve to `address` for it.
    """

    def __init__(self, config: Path, namespace: str, address: str, log: Path) -> None:
        self.log = log
        command = [
            sys.executable, "-m", "support.kuberay.cluster_dns", address, "modelyard_operator",
            f"--kubeconfig={config}", f"--namespace={namespace}", "--metrics-port=0",
        ]  # fmt: skip
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=with_tests(os.environ))

    async def reads(self) -> None:
        """Wait until it has read the cluster."""
        while "the cache is complete" not in self.log.read_text():
            if self.process.poll() is not None:
                raise RuntimeError(f"the operator ended by itself: {self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.02)

    def kill(self) -> bool:
        """SIGKILL; returns whether it had begun to write."""
        self.process.kill()
        self.process.wait()
        return _WRITES.search(self.log.read_text()) is not None
