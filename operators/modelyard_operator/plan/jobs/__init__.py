"""TrainingJob and EvaluationJob: what is to be done about one of them."""

from __future__ import annotations

from modelyard_operator.plan.jobs.planning import interest, plan

__all__ = ["interest", "plan"]
