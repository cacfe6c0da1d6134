"""Who a process is, so that a number used again is not taken for the process that had it before."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: its host, this boot of it, its pid name space there, its pid, and when it started (kernel ticks)."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    process_start: str


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()) or "",
    )


def process_start(pid: int) -> str | None:
    """Kernel ticks since boot at which `pid` started (field 22 of /proc/<pid>/stat); None when it is not running.

    A zombie is not running: it writes nothing any more.
    """
    text = _read(f"/proc/{pid}/stat")
    fields = text.rpartition(")")[2].split()  # field 2, the command, may hold spaces and brackets
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return fields[19]


def is_running(who: ProcessIdentity) -> bool | None:
    """Whether that very process runs; None when it cannot be known from here (another host or pid name space)."""
    here = this_process()
    if who.host != here.host or not who.process_start:
        return None
    if who.boot_id != here.boot_id:
        return False
    if who.pid_namespace != here.pid_namespace:
        return None
    return process_start(who.pid) == who.process_start


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
