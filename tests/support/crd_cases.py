"""What the API server refuses and what it takes, as changes to the manifests of tests/support/manifests.py."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import yaml

from support.manifests import DEPLOYMENT, EVALUATION, TRAINING

GONE = object()  # as a value: take the field out
TRAIN, EVALUATE, SERVE = "TrainingJob", "EvaluationJob", "ModelDeployment"
BASES = {TRAIN: TRAINING, EVALUATE: EVALUATION, SERVE: DEPLOYMENT}
SOURCE = {"name": "held", "path": "held/"}
SUITE = {"name": "more", "task": "perplexity", "sources": [SOURCE]}
MARGIN = {"margin": 0.1}
CLAIM = {"claimName": "more"}


class Case(NamedTuple):
    """A rule: changes it takes, changes it refuses, the field that the refusal names, and its words."""

    kind: str
    good: dict[str, Any]
    bad: dict[str, Any]
    field: str
    words: str


def manifest(kind: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The small manifest of a kind with values at paths (`spec.evaluation.gates.0.atMost`) replaced."""
    made: dict[str, Any] = yaml.safe_load(BASES[kind])
    for path, value in (changes or {}).items():
        _put(made, path.split("."), value)
    return made


def _put(here: Any, words: list[str], value: Any) -> None:
    for word in words[:-1]:
        here = here[int(word)] if isinstance(here, list) else here.setdefault(word, {})
    last: Any = int(words[-1]) if isinstance(here, list) else words[-1]
    if value is GONE:
        del here[last]
    else:
        here[last] = copy.deepcopy(value)


def _env(**fields: Any) -> dict[str, Any]:
    return {"spec.runtime": {"env": [{"name": "A", **fields}]}}


def _volume(**fields: Any) -> dict[str, Any]:
    return {"spec.runtime": {"volumes": [{"name": "v", "mountPath": "/v", **fields}]}}


def _volumes(*names: str) -> dict[str, Any]:
    return {"spec.runtime": {"volumes": [{"name": name, "mountPath": f"/{name}", "emptyDir": {}} for name in names]}}


_ORIGIN = "set exactly one of architecture, from, module"
_LENGTH = "set exactly one of steps, epochs, tokens"
_GATE = "set exactly one of atMost, atLeast, notWorseThanBaseline"
_ENV = "set exactly one of value, valueFrom"
_VOLUME = "set exactly one of persistentVolumeClaim, configMap, secret, emptyDir"
_MODULE = {"spec.model": {"module": "a.b:c"}}
_FROM = {"spec.model": {"from": "./folder"}}
_EPOCHS = {"spec.optimization.steps": GONE, "spec.optimization.epochs": 2}
_DECAY = {"spec.optimization.schedule": {"name": "wsd", "decaySteps": 5}}
_SUITES = {"spec.evaluation.suites": [SUITE]}
_SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
_CONFIG = {"configMapKeyRef": {"name": "c", "key": "k"}}
_MODEL_OR_ENDPOINT = "set exactly one of model, endpoint"
_ENDPOINT = {"endpoint": {"url": "http://a/v1", "model": "m"}}
_SCALING = {"spec.replicas": GONE, "spec.autoscaling": {"minReplicas": 2, "maxReplicas": 2}}

RULES = [
    Case(TRAIN, _MODULE, {"spec.model.architecture": GONE}, "spec.model", _ORIGIN),
    Case(TRAIN, _FROM, {"spec.model.module": "a.b:c"}, "spec.model", _ORIGIN),
    Case(
        TRAIN,
        {"spec.model": {"from": "./folder", "tokenizer": {"from": "./other"}}},
        {"spec.model": {"from": "./folder", "tokenizer": {"train": {}}}},
        "spec.model.tokenizer.train",
        "a new tokenizer does not fit weights that were trained with another: the model's own is used",
    ),
    Case(
        TRAIN,
        {"spec.model.tokenizer": {"from": "./other"}},
        {"spec.model.tokenizer": {}},
        "spec.model.tokenizer",
        "set exactly one of train, from",
    ),
    Case(
        TRAIN,
        {"spec.data.validation": {"sources": [SOURCE]}},
        {"spec.data.validation": {"sources": [SOURCE], "fraction": 0.5}},
        "spec.data.validation",
        "set at most one of sources, fraction",
    ),
    Case(TRAIN, _EPOCHS, {"spec.optimization.steps": GONE}, "spec.optimization", _LENGTH),
    Case(TRAIN, {}, {"spec.optimization.tokens": 5}, "spec.optimization", _LENGTH),
    Case(
        TRAIN,
        {"spec.optimization.globalBatchTokens": GONE},
        {"spec.optimization.globalBatchExamples": 8},
        "spec.optimization",
        "set at most one of globalBatchTokens, globalBatchExamples",
    ),
    Case(
        TRAIN,
        {"spec.optimization.schedule.warmupSteps": 99},
        {"spec.optimization.schedule.warmupSteps": 100},
        "spec.optimization.schedule.warmupSteps",
        "must be less than optimization.steps",
    ),
    Case(
        TRAIN,
        _DECAY,
        {"spec.optimization.schedule": {"decaySteps": 5}},
        "spec.optimization.schedule.decaySteps",
        "belongs to name: wsd",
    ),
    Case(
        TRAIN,
        {"spec.workers.minCount": 2},
        {"spec.workers.minCount": 3},
        "spec.workers.minCount",
        "must be at most count",
    ),
    Case(
        TRAIN,
        {"spec.register.aliases": ["v12", "1a"]},
        {"spec.register.aliases": ["v12", "12"]},
        "spec.register.aliases",
        "an alias of digits looks like a version: begin it with a letter",
    ),
    Case(
        EVALUATE,
        {"spec.suites.0.name": "training"},
        {"spec.suites.0.name": "train"},
        "spec.suites[0].name",
        "names a split of the data: call it heldout, say",
    ),
    Case(
        TRAIN,
        {"spec.evaluation.gates": []},
        {"spec.evaluation.gates.0.atMost": GONE},
        "spec.evaluation.gates[0]",
        _GATE,
    ),
    Case(TRAIN, {}, {"spec.evaluation.gates.0.notWorseThanBaseline": MARGIN}, "spec.evaluation.gates[0]", _GATE),
    Case(
        TRAIN, _SUITES, {"spec.evaluation.suites": [SUITE, SUITE]}, "spec.evaluation.suites", "give each its own name"
    ),
    Case(EVALUATE, {"spec.suites": [SUITE]}, {"spec.suites": [SUITE, SUITE]}, "spec.suites", "give each its own name"),
    Case(
        SERVE,
        {"spec.rollout": {"evaluation": {"suites": [SUITE]}}},
        {"spec.rollout": {"evaluation": {"suites": [SUITE, SUITE]}}},
        "spec.rollout.evaluation.suites",
        "give each its own name",
    ),
    Case(EVALUATE, {"spec.target": _ENDPOINT}, {"spec.target": {}}, "spec.target", _MODEL_OR_ENDPOINT),
    Case(EVALUATE, {}, {"spec.target": {"model": "./a", **_ENDPOINT}}, "spec.target", _MODEL_OR_ENDPOINT),
    Case(TRAIN, _env(value=""), _env(), "spec.runtime.env[0]", _ENV),
    Case(TRAIN, _env(valueFrom=_SECRET), _env(value="a", valueFrom=_SECRET), "spec.runtime.env[0]", _ENV),
    Case(
        TRAIN,
        _env(valueFrom=_CONFIG),
        _env(valueFrom=_CONFIG | _SECRET),
        "spec.runtime.env[0].valueFrom",
        "set exactly one of secretKeyRef, configMapKeyRef",
    ),
    Case(
        SERVE,
        {"spec.runtime": {"envFrom": [{"secretRef": {"name": "s"}}]}},
        {"spec.runtime": {"envFrom": [{"prefix": "A"}]}},
        "spec.runtime.envFrom[0]",
        "set exactly one of secretRef, configMapRef",
    ),
    Case(TRAIN, _volume(emptyDir={}), _volume(), "spec.runtime.volumes[0]", _VOLUME),
    Case(
        EVALUATE,
        _volume(persistentVolumeClaim=CLAIM),
        _volume(persistentVolumeClaim=CLAIM, emptyDir={}),
        "spec.runtime.volumes[0]",
        _VOLUME,
    ),
    Case(TRAIN, _volumes("a", "b"), _volumes("a", "a"), "spec.runtime.volumes", "give each its own name"),
    Case(
        SERVE,
        {"spec.engine.maxBatchTokens": 8},
        {"spec.engine.maxBatchTokens": 7},
        "spec.engine.maxBatchTokens",
        "must be at least maxSequences: every sequence gets a token in a step",
    ),
    Case(
        SERVE,
        _SCALING,
        {**_SCALING, "spec.autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        "spec.autoscaling.maxReplicas",
        "must be at least minReplicas",
    ),
    Case(
        SERVE,
        {"spec.replicas": 0},
        {"spec.autoscaling": {"maxReplicas": 2}},
        "spec",
        "set at most one of replicas, autoscaling",
    ),
]
LONG = "a" * 64
SCHEMA = [
    Case(TRAIN, {}, {"spec.optimization.stepz": 5}, "", 'unknown field "spec.optimization.stepz"'),
    Case(TRAIN, {}, {"spec.optimization.steps": "100"}, "spec.optimization.steps", "must be of type integer"),
    Case(TRAIN, {}, {"spec.optimization.steps": 0}, "spec.optimization.steps", "greater than or equal to 1"),
    Case(
        TRAIN,
        {"spec.optimization.optimizer.learningRate": 1e-9},
        {"spec.optimization.optimizer.learningRate": 0},
        "spec.optimization.optimizer.learningRate",
        "should be greater than 0",
    ),
    Case(TRAIN, {}, {"spec.data.train": []}, "spec.data.train", "should have at least 1 items"),
    Case(TRAIN, {}, {"spec.register": GONE}, "spec.register", "Required value"),
    Case(TRAIN, {}, {"spec.objective": "masked"}, "spec.objective", 'supported values: "causal-lm"'),
    Case(TRAIN, {}, {"spec.sharding.zeroStage": 4}, "spec.sharding.zeroStage", 'supported values: "0", "1", "2", "3"'),
    Case(TRAIN, {}, {"spec.register.name": "A"}, "spec.register.name", "should match"),
    Case(TRAIN, {"metadata.name": LONG[:63]}, {"metadata.name": LONG}, "metadata.name", "may not be more than 63"),
    Case(TRAIN, {"metadata.name": "j1"}, {"metadata.name": "1j"}, "metadata.name", "should match"),
    Case(
        SERVE,
        {"spec.resources.cpu": 2, "spec.resources.memory": "1.5Gi"},
        {"spec.resources.cpu": "two"},
        "spec.resources.cpu",
        "should match",
    ),
    Case(SERVE, {}, {"spec.resources.cpu": -1}, "spec.resources.cpu", "greater than or equal to 0"),
    Case(SERVE, {}, {"spec.resources.cpu": 0.5}, "spec.resources.cpu", "must be of type integer,string"),
    Case(
        TRAIN,
        {"spec.optimization.optimizer.betas": [0.5, 0.5]},
        {"spec.optimization.optimizer.betas": [0.5]},
        "spec.optimization.optimizer.betas",
        "at least 2 items",
    ),
]
