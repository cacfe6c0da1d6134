"""Pure decisions: what to create, change and delete, from what was observed. No clock, no network, no randomness."""

from __future__ import annotations

from modelyard_operator.kinds.actions import Action
from modelyard_operator.kinds.objects import MODEL_DEPLOYMENTS, Json, ObjectKey
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan import deployments, jobs
from modelyard_operator.plan.refusals import while_refused

__all__ = ["interest", "plan", "probes"]


def plan(observation: Observation, settings: Settings) -> list[Action]:
    """What is to be done about a parent now; empty when the world is as it should be."""
    kind = deployments if _is_deployment(observation.parent) else jobs
    actions = kind.plan(observation, settings)
    return while_refused(observation, actions) if observation.refusal else actions


def interest(parent: Json, settings: Settings) -> tuple[ObjectKey, ...]:
    """Keys of the objects that a plan looks at though the parent does not control them (yet)."""
    return deployments.interest(parent, settings) if _is_deployment(parent) else jobs.interest(parent, settings)


def probes(observation: Observation) -> tuple[str, ...]:
    """URLs that are to be asked before the plan is made: those of a deployment; a job has none."""
    return deployments.probes(observation) if _is_deployment(observation.parent) else ()


def _is_deployment(parent: Json) -> bool:
    return bool(parent["kind"] == MODEL_DEPLOYMENTS.kind)
