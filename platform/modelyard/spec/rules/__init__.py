"""Rules between fields: what the types alone cannot say. Pure; a rule yields objections and never raises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.spec.rules.jobs import DEPLOYMENT_RULES, EVALUATION_RULES
from modelyard.spec.rules.objections import Objection, Rule, hear
from modelyard.spec.rules.secrets import check_secrets
from modelyard.spec.rules.training import RULES as TRAINING_RULES

RULES: Mapping[str, tuple[Rule, ...]] = {
    "TrainingJob": TRAINING_RULES,
    "EvaluationJob": EVALUATION_RULES,
    "ModelDeployment": DEPLOYMENT_RULES,
}


def objections(kind: str, spec: Any, value: Any, *, partial: bool) -> Iterator[Objection]:
    """What the rules of `kind` say of its spec; `value` is the document as written, searched for secrets."""
    yield from check_secrets(value)
    if spec is not None:
        yield from hear(RULES[kind], spec, partial=partial)


__all__ = ["RULES", "Objection", "objections"]
