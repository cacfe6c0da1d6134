"""Rules of an EvaluationJob and of a ModelDeployment."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.spec.deployments import ModelDeploymentSpec
from modelyard.spec.evaluations import EvaluationJobSpec
from modelyard.spec.rules.evaluation import check_gates, check_suites
from modelyard.spec.rules.objections import Objection, Rule, exactly_one
from modelyard.spec.rules.placement import check_resources, check_workers
from modelyard.spec.rules.references import check_reference
from modelyard.spec.rules.training import check_places, check_suspend


def check_target(spec: EvaluationJobSpec) -> Iterator[Objection]:
    """Exactly one of model and endpoint; endpoints are not built yet."""
    target, place = spec.target, ("spec", "target")
    yield from exactly_one({"model": target.model, "endpoint": target.endpoint}, place)
    if target.model is not None:
        yield from check_reference(target.model, (*place, "model"))
    if target.endpoint is not None:
        yield Objection((*place, "endpoint"), "is not built yet", "evaluate a model: registry://name@alias", True)


def check_comparison(spec: EvaluationJobSpec) -> Iterator[Objection]:
    """A baseline is a version or a folder; promotion is not built yet."""
    if spec.baseline is not None:
        yield from check_reference(spec.baseline.model, ("spec", "baseline", "model"))
    if spec.promote is not None:
        yield Objection(("spec", "promote"), "is not built yet", "take it out; modelyard alias moves an alias", True)


def check_job_suites(spec: EvaluationJobSpec) -> Iterator[Objection]:
    """Suites bring their own documents."""
    yield from check_suites(spec.suites, ("spec", "suites"), fallback=False, instead="")


def check_job_gates(spec: EvaluationJobSpec) -> Iterator[Objection]:
    """Gates bound what the suites measure."""
    missing = "" if spec.baseline else "add baseline: {model: registry://name@alias}"
    yield from check_gates(spec.gates, spec.suites, ("spec", "gates"), baseline=missing)


def check_scorers(spec: EvaluationJobSpec) -> Iterator[Objection]:
    """Workers and their resources."""
    yield from check_workers(spec.workers, ("spec", "workers"))


EVALUATION_RULES: tuple[Rule, ...] = (
    check_target, check_comparison, check_job_suites, check_job_gates, check_scorers, check_suspend, check_places,
)  # fmt: skip


def check_model(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """What is served is a version or a folder."""
    yield from check_reference(spec.model, ("spec", "model"))


def check_engine(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """The transformers engine, fp32 or bf16."""
    place = ("spec", "engine")
    if spec.engine.name != "transformers":
        yield Objection((*place, "name"), f"{spec.engine.name} is not built yet", "use transformers")
    if spec.engine.precision == "fp16":
        yield Objection((*place, "precision"), "fp16 is not built yet", "use bf16 or fp32")


def check_engine_sizes(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """Every running sequence gets a token in a step."""
    engine = spec.engine
    if engine.max_batch_tokens < engine.max_sequences:
        message = f"is {engine.max_batch_tokens}, less than maxSequences: {engine.max_sequences} need a token each"
        yield Objection(("spec", "engine", "maxBatchTokens"), message, f"write {engine.max_sequences} or more")


def check_replicas(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """A fixed number of replicas or a range that is one."""
    yield from exactly_one({"replicas": spec.replicas, "autoscaling": spec.autoscaling}, ("spec",), needed=False)
    scaling = spec.autoscaling
    if scaling is not None and scaling.min_replicas > scaling.max_replicas:
        message = f"is {scaling.min_replicas}, more than maxReplicas: {scaling.max_replicas}"
        yield Objection(("spec", "autoscaling", "minReplicas"), message, f"write {scaling.max_replicas} or less")


def check_rollout(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """Only surge; an evaluation measures something, and its gates bound that."""
    place = ("spec", "rollout")
    if spec.rollout.strategy != "surge":
        yield Objection((*place, "strategy"), f"{spec.rollout.strategy} is not built yet", "use surge")
    wish, here = spec.rollout.evaluation, (*place, "evaluation")
    if wish is not None:
        if not wish.suites:
            yield Objection(here, "has no suites", "add one: suites: [{name: heldout, task: perplexity, sources: […]}]")
        elif not wish.gates:
            yield Objection(
                here, "has no gates: without one there is no verdict", "add one: gates: [{metric: …, atMost: …}]"
            )
        yield from check_suites(wish.suites, (*here, "suites"), fallback=False, instead="")
        yield from check_gates(wish.gates, wish.suites, (*here, "gates"))


def check_api(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """Keys are not built yet: an endpoint that seems protected and is not would be worse than none."""
    for name in ("keys_file", "keys_secret_ref"):
        if getattr(spec.api, name) is not None:
            alias = type(spec.api).model_fields[name].alias or name
            fix = "take it out and listen on 127.0.0.1, behind a proxy that asks for keys"
            yield Objection(("spec", "api", alias), "is not built yet", fix, True)


def check_replica_resources(spec: ModelDeploymentSpec) -> Iterator[Objection]:
    """What each replica gets."""
    yield from check_resources(spec.resources, ("spec", "resources"))


DEPLOYMENT_RULES: tuple[Rule, ...] = (
    check_model, check_engine, check_engine_sizes, check_replicas, check_rollout, check_api, check_replica_resources,
    check_places,
)  # fmt: skip
