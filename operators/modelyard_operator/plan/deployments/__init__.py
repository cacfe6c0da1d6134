"""ModelDeployment: what is to be done about one of them."""

from __future__ import annotations

from modelyard_operator.plan.deployments.planning import interest, plan, probes

__all__ = ["interest", "plan", "probes"]
