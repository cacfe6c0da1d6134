"""Places at which a test may kill or freeze this process, to prove that what is half done harms nobody.

`MODELYARD_FAULT_POINT=<name>:<count>[:kill|stop[:<marker file>]]` arms one point: the `count`-th time that this process
passes it, it sends itself SIGKILL (or SIGSTOP). With a marker file only the first process of all to get there is hit,
so a restarted one goes on. Without the variable a point is one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "MODELYARD_FAULT_POINT"
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Say that this place was passed; dies (or freezes) here when a test asked for it."""
    armed = os.environ.get(VARIABLE)
    if armed:
        _hit(name, armed)


def _hit(name: str, armed: str) -> None:
    wanted, count, action, marker = (*armed.split(":", 3), "", "", "")[:4]
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(count or 1) and _first(marker):
        os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)


def _first(marker: str) -> bool:
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
