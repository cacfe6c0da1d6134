"""Rules between fields that the API server itself holds, in CEL: what is cheap to say there, with the field's name.

Everything else that `modelyard validate` says comes as the condition Accepted=False, in the same words. What validate
accepts, these rules accept too. They need Kubernetes 1.28 (`fieldPath`, `reason`; older servers drop those two).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.spec import KINDS
from modelyard.spec.fields import fields_of, part_class
from modelyard.spec.placement import RuntimeSpec


@dataclass(frozen=True)
class CelRule:
    """`expression` over `self` (and `oldSelf`, on updates) must hold; the refusal names `field`, below the rule's own
    place, and says `message`. `reason` is how the server words it: `Invalid value: …` or `Forbidden: …`.
    """

    expression: str
    message: str
    field: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """An item of x-kubernetes-validations."""
        wished = {
            "rule": self.expression,
            "message": self.message,
            "fieldPath": f".{self.field}" if self.field else "",
            "reason": self.reason,
        }
        return {name: value for name, value in wished.items() if value}


def exactly_one(*names: str) -> CelRule:
    """One of these siblings is set, and no other."""
    return CelRule(f"{_count(names)} == 1", f"set exactly one of {', '.join(names)}")


def at_most_one(*names: str, lists: tuple[str, ...] = ()) -> CelRule:
    """Of these siblings two are never set; a list counts when something is in it."""
    return CelRule(f"{_count(names, lists)} <= 1", f"set at most one of {', '.join(names)}")


def unique(name: str, key: str) -> CelRule:
    """No two items of a short list have the same key."""
    expression = f"!has(self.{name}) || self.{name}.all(x, self.{name}.exists_one(y, y.{key} == x.{key}))"
    return CelRule(expression, f"give each its own {key}", name)


def _count(names: tuple[str, ...], lists: tuple[str, ...] = ()) -> str:
    set_ = [f"has(self.{name})" + (f" && self.{name}.size() > 0" if name in lists else "") for name in names]
    return " + ".join(f"({each} ? 1 : 0)" for each in set_)


# By the class of the part in which they stand.
PART_RULES: Mapping[str, tuple[CelRule, ...]] = {
    "ModelSpec": (
        exactly_one("architecture", "from", "module"),
        CelRule(
            "!(has(self.from) && has(self.tokenizer) && has(self.tokenizer.train))",
            "a new tokenizer does not fit weights that were trained with another: the model's own is used",
            "tokenizer.train",
        ),
    ),
    "TokenizerSpec": (exactly_one("train", "from"),),
    "ValidationSpec": (at_most_one("sources", "fraction", lists=("sources",)),),
    "OptimizationSpec": (
        exactly_one("steps", "epochs", "tokens"),
        at_most_one("globalBatchTokens", "globalBatchExamples"),
        CelRule(
            "!has(self.steps) || !has(self.schedule) || !has(self.schedule.warmupSteps) || "
            "self.schedule.warmupSteps < self.steps",
            "must be less than optimization.steps",
            "schedule.warmupSteps",
        ),
    ),
    "ScheduleSpec": (
        CelRule(
            "!has(self.decaySteps) || (has(self.name) && self.name == 'wsd')", "belongs to name: wsd", "decaySteps"
        ),
    ),
    "WorkersSpec": (
        CelRule("!has(self.minCount) || self.minCount <= self.count", "must be at most count", "minCount"),
    ),
    "RegisterSpec": (
        CelRule(
            "!has(self.aliases) || self.aliases.all(alias, !alias.matches('^[0-9]+$'))",
            "an alias of digits looks like a version: begin it with a letter",
            "aliases",
        ),
    ),
    "SuiteSpec": (
        CelRule(
            "!(self.name in ['train', 'validation'])", "names a split of the data: call it heldout, say", "name"
        ),
    ),
    "GateSpec": (exactly_one("atMost", "atLeast", "notWorseThanBaseline"),),
    "TargetSpec": (exactly_one("model", "endpoint"),),
    "EvaluationSpec": (unique("suites", "name"),),
    "EvaluationJobSpec": (unique("suites", "name"),),
    "RolloutEvaluationSpec": (unique("suites", "name"),),
    "EnvVar": (exactly_one("value", "valueFrom"),),
    "EnvSource": (exactly_one("secretKeyRef", "configMapKeyRef"),),
    "EnvFromSource": (exactly_one("secretRef", "configMapRef"),),
    "VolumeSpec": (exactly_one("persistentVolumeClaim", "configMap", "secret", "emptyDir"),),
    "RuntimeSpec": (unique("volumes", "name"),),
    "EngineSpec": (
        CelRule(
            "self.maxBatchTokens >= self.maxSequences",
            "must be at least maxSequences: every sequence gets a token in a step",
            "maxBatchTokens",
        ),
    ),
    "AutoscalingSpec": (
        CelRule("self.minReplicas <= self.maxReplicas", "must be at least minReplicas", "maxReplicas"),
    ),
    "ModelDeploymentSpec": (at_most_one("replicas", "autoscaling"),),
}  # fmt: skip

ALWAYS = {"suspend", "runtime.startDeadlineSeconds", "runtime.activeDeadlineSeconds", "runtime.ttlSecondsAfterFinished"}
WHILE_SUSPENDED = {"workers", "runtime", "sharding", "faultTolerance", "checkpoint"}
JOBS = ("TrainingJob", "EvaluationJob")

_ACCEPTED = "has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'Accepted' && c.status == 'True')"  # noqa: E501
_SUSPENDED = "has(oldSelf.spec.suspend) && oldSelf.spec.suspend && oldSelf.status.conditions.exists(c, c.type == 'Suspended' && c.status == 'True')"  # noqa: E501
_FIXED = "cannot change once the job is accepted: delete the job and apply the new one; what is committed stays"
_HELD = "can change only while the job is suspended: set suspend: true and wait for the condition Suspended"


def root_rules(kind: str) -> tuple[CelRule, ...]:
    """What may change after Accepted=True, one rule a field. A ModelDeployment's changes roll out: it has none."""
    if kind not in JOBS:
        return ()
    spec = part_class(KINDS[kind].model_fields["spec"].annotation)
    assert spec is not None
    top = [name for name, _ in fields_of(spec) if name != "runtime"]
    below = [f"runtime.{name}" for name, _ in fields_of(RuntimeSpec)]
    return tuple(_unchanged(path) for path in (*top, *below) if path not in ALWAYS)


def _unchanged(path: str) -> CelRule:
    """`oldSelf` was not accepted yet, or was suspended (where that helps), or the field is as it was."""
    loose = path.partition(".")[0] in WHILE_SUSPENDED
    expression = " || ".join([f"!({_ACCEPTED})", *([f"({_SUSPENDED})"] if loose else []), f"({_same(path)})"])
    return CelRule(expression, _HELD if loose else _FIXED, f"spec.{path}", "FieldValueForbidden")


def _same(path: str) -> str:
    """The field is as it was. Written with `has`: the server cannot bound the cost of comparing optional values.

    A default stands as soon as its mapping does, so a field with one is taken to have it without the mapping too.
    """
    now, before = f"self.spec.{path}", f"oldSelf.spec.{path}"
    default = next((field.default for name, field in fields_of(RuntimeSpec) if f"runtime.{name}" == path), None)
    if isinstance(default, str):
        return f"({_is_set(now)} ? {now} : '{default}') == ({_is_set(before)} ? {before} : '{default}')"
    return f"{_is_set(before)} ? {_is_set(now)} && {now} == {before} : !({_is_set(now)})"


def _is_set(path: str) -> str:
    """`has(self.spec.runtime) && has(self.spec.runtime.image)`: every mapping on the way, then the field."""
    words = path.split(".")
    return " && ".join(f"has({'.'.join(words[:length])})" for length in range(3, len(words) + 1))
