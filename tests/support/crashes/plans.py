"""The operator's plan, remembered: it is pure, so an equal observation gives an equal plan, in thousands of runs."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from hashlib import blake2b

from modelyard_operator.kinds.actions import Action
from modelyard_operator.kinds.objects import Json, ObjectKey
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan import interest, plan

SETTINGS = Settings()
_PLAIN = 2  # marshal's version without references: equal values are equal bytes
_PLANS: dict[bytes, Sequence[Action]] = {}


def planned(observation: Observation) -> Sequence[Action]:
    """The plan for an observation."""
    seen = _seen(observation)
    if seen not in _PLANS:
        _PLANS[seen] = plan(observation, SETTINGS)
    return _PLANS[seen]


def forget() -> None:
    """Let go of the plans of runs that are over."""
    _PLANS.clear()


def interested(parent: Json) -> tuple[ObjectKey, ...]:
    """The keys that the plan of a parent looks at."""
    return interest(parent, SETTINGS)


def _seen(observation: Observation) -> bytes:
    probes = [[probe.url, probe.healthy, probe.version, probe.message] for probe in observation.probes.values()]
    served = sorted(map(str, observation.served))
    world = [observation.now.isoformat(), observation.parent, list(observation.objects.values()), served, probes]
    return blake2b(marshal.dumps(world, _PLAIN), digest_size=20).digest()
