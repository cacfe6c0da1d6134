"""A stand-in for KubeRay v1.7, for tests: its state machines, with outcomes by script or for real.

`standin` is the loop, `rayjobs`, `rayservices` and `rayclusters` are the controllers (pure), `scripts` says what Ray
does in tests that hold the clock, `local_ray` runs entrypoints and Serve applications as processes of this machine.
"""

from support.kuberay.scripted_ray import ScriptedRay
from support.kuberay.scripts import Attempt, Fault, Moment, Script, Serving
from support.kuberay.standin import StandIn

__all__ = ["Attempt", "Fault", "Moment", "Script", "ScriptedRay", "Serving", "StandIn"]
