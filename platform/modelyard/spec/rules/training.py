"""Rules of a TrainingJob; each function checks one thing, so that one unreadable field silences few of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.spec.documents import Location
from modelyard.spec.rules.configs import check_config
from modelyard.spec.rules.data import check_sources, check_validation
from modelyard.spec.rules.deepspeed import check_deepspeed
from modelyard.spec.rules.evaluation import check_gates, check_suites
from modelyard.spec.rules.objections import Objection, Rule, exactly_one, repeated
from modelyard.spec.rules.optimization import check_batch, check_length, check_schedule, check_shares
from modelyard.spec.rules.placement import check_cluster, check_workers
from modelyard.spec.rules.references import check_reference
from modelyard.spec.training import TrainingJobSpec

MODEL: Location = ("spec", "model")
_MEMBERS = {
    "masked_lm": "masked-lm", "seq2seq": "seq2seq", "chat": "chat", "text_classification": "text-classification",
    "token_classification": "token-classification", "question_answering": "question-answering",
    "preference": "preference", "distillation": "distillation",
}  # fmt: skip


def check_objective(spec: TrainingJobSpec) -> Iterator[Objection]:
    """causal-lm is the objective that is built; a member belongs to the objective of its name."""
    if spec.objective != "causal-lm":
        yield Objection(("spec", "objective"), f"{spec.objective} is not built yet", "use causal-lm")


def check_members(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Options of objectives that are not built, or not chosen, are refused."""
    for name, objective in _MEMBERS.items():
        if getattr(spec, name, None) is not None:
            alias = type(spec).model_fields[name].alias or name
            yield Objection(
                ("spec", alias), f"belongs to objective {objective}, which is not built yet", "take it out", True
            )


def check_origin(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Exactly one of architecture, from and module."""
    model = spec.model
    origins = {"architecture": model.architecture, "from": model.from_, "module": model.module}
    yield from exactly_one(origins, MODEL, why=", as architecture: llama")
    if model.from_ is not None:
        yield from check_reference(model.from_, (*MODEL, "from"))
    if model.module is not None:
        yield Objection((*MODEL, "module"), "is not built yet", "use architecture or from", True)


def check_adapter(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Adapters are not built yet."""
    if spec.model.adapter is not None:
        yield Objection((*MODEL, "adapter"), "is not built yet", "take it out: all weights are trained", True)


def check_model_config(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Keys of the config are the architecture's."""
    model = spec.model
    if model.architecture is not None:
        yield from check_config(model.architecture, model.config, MODEL)
    elif model.config:
        yield Objection(
            (*MODEL, "config"), "goes with architecture: weights of a folder have their own", "take it out", True
        )


def check_tokenizer(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Exactly one of train and from; weights that exist know only the tokenizer they came with."""
    tokenizer, place = spec.model.tokenizer, (*MODEL, "tokenizer")
    if tokenizer is None:
        return
    yield from exactly_one(
        {"train": tokenizer.train, "from": tokenizer.from_}, place, why=", as train: {vocabSize: 4096}"
    )
    if tokenizer.train is not None and spec.model.from_ is not None:
        message = "a new tokenizer does not fit weights that were trained with another"
        yield Objection((*place, "train"), message, "take it out: the model's own is used", True)
    if tokenizer.from_ is not None:
        yield from check_reference(tokenizer.from_, (*place, "from"))


def check_training_sources(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Training sources are well named."""
    yield from check_sources(spec.data.train, ("spec", "data", "train"))


def check_validation_sources(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Validation documents come from one place."""
    yield from check_validation(spec.data, ("spec", "data"))


def check_apart(spec: TrainingJobSpec) -> Iterator[Objection]:
    """No file is trained on and measured on."""
    trained = {source.path: source.name for source in spec.data.train}
    for index, source in enumerate(spec.data.validation.sources):
        if source.path in trained:
            place = ("spec", "data", "validation", "sources", index, "path")
            message = f"is also the training source {trained[source.path]}"
            yield Objection(place, message, "measure on other files, or use fraction instead of sources")


def check_preparation(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Steps of preparation are not built yet."""
    if spec.data.prepare:
        yield Objection(
            ("spec", "data", "prepare"), "is not built yet", "take it out, or prepare the files beforehand", True
        )


def check_precision(spec: TrainingJobSpec) -> Iterator[Objection]:
    """fp16 needs loss scaling and a GPU."""
    if spec.optimization.precision == "fp16":
        place = ("spec", "optimization", "precision")
        yield Objection(place, "fp16 is not built yet", "use bf16, which has fp32's range, or fp32")


def check_offload(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Offloading is not built yet."""
    for name in ("optimizer", "parameters"):
        if getattr(spec.sharding.offload, name) != "none":
            yield Objection(("spec", "sharding", "offload", name), "is not built yet", "write none, or leave it out")


def check_sequence_parallel(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Sequence parallelism is not built yet."""
    if spec.sharding.sequence_parallel != 1:
        yield Objection(
            ("spec", "sharding", "sequenceParallel"), "above 1 is not built yet", "write 1, or leave it out"
        )


def check_passthrough(spec: TrainingJobSpec) -> Iterator[Objection]:
    """DeepSpeed's own keys do not contradict fields."""
    yield from check_deepspeed(spec.sharding.deepspeed, ("spec", "sharding", "deepspeed"))


def check_measuring(spec: TrainingJobSpec) -> Iterator[Objection]:
    """The loss on validation documents needs some."""
    if spec.evaluation.every_steps is not None and not has_validation(spec):
        place = ("spec", "evaluation", "everySteps")
        yield Objection(
            place, "needs documents to measure on", "add data.validation: {fraction: 0.05}, or sources", True
        )


def check_evaluation_suites(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Suites have documents: their own or data.validation."""
    place = ("spec", "evaluation", "suites")
    instead = ", or data.validation to the job"
    yield from check_suites(spec.evaluation.suites, place, fallback=has_validation(spec), instead=instead)


def check_evaluation_gates(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Gates bound what the suites measure."""
    place = ("spec", "evaluation", "gates")
    instead = "use atMost or atLeast here, and an EvaluationJob with a baseline afterwards"
    yield from check_gates(spec.evaluation.gates, spec.evaluation.suites, place, baseline=instead)


def check_best(spec: TrainingJobSpec) -> Iterator[Objection]:
    """The best checkpoint is chosen by the validation loss, which must be measured; lower is better."""
    best, place = spec.checkpoint.keep.best, ("spec", "checkpoint", "keep", "best")
    if best is None:
        return
    if best.mode != "min":
        yield Objection((*place, "mode"), "of validation/loss is min: lower is better", "write min, or leave it out")
    if spec.evaluation.every_steps is None:
        fix = f"add evaluation: {{everySteps: {spec.checkpoint.every_steps}}}"
        yield Objection(place, "needs the validation loss, which is not measured", fix, True)
        return
    measured, committed = spec.evaluation.every_steps, spec.checkpoint.every_steps
    if measured % committed and committed % measured:
        message = f"is chosen among commits with a validation loss, but steps {measured} and {committed} seldom meet"
        yield Objection(place, message, f"write evaluation.everySteps: {committed}, or a multiple of it", True)


def check_registered_weights(spec: TrainingJobSpec) -> Iterator[Objection]:
    """`from: best` needs a best checkpoint."""
    if spec.register.from_ == "best" and spec.checkpoint.keep.best is None:
        fix = "add checkpoint: {keep: {best: {metric: validation/loss, mode: min}}}"
        yield Objection(("spec", "register", "from"), "is best, but no best checkpoint is kept", fix)


def check_aliases(spec: TrainingJobSpec) -> Iterator[Objection]:
    """An alias is never all digits: it would look like a version."""
    place = ("spec", "register", "aliases")
    for index, alias in enumerate(spec.register.aliases):
        if alias.isdigit():
            yield Objection(
                (*place, index), f'is "{alias}": an alias of digits looks like a version', "begin it with a letter"
            )
    yield from repeated(spec.register.aliases, place, field=None)


def check_processes(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Workers and their resources."""
    yield from check_workers(spec.workers, ("spec", "workers"))


def check_suspend(spec: Any) -> Iterator[Objection]:
    """Suspending by the manifest is the cluster's."""
    if spec.suspend:
        yield Objection(("spec", "suspend"), "true is not built yet", "leave it out; Ctrl-C suspends a local run", True)


def check_places(spec: Any) -> Iterator[Objection]:
    """Storage and runtime."""
    yield from check_cluster(spec, ("spec",))


def has_validation(spec: TrainingJobSpec) -> bool:
    """Whether the job sets documents aside."""
    return bool(spec.data.validation.sources) or spec.data.validation.fraction is not None


RULES: tuple[Rule, ...] = (
    check_objective, check_members, check_origin, check_adapter, check_model_config, check_tokenizer,
    check_training_sources, check_validation_sources, check_apart, check_preparation, check_length, check_batch,
    check_shares, check_schedule, check_precision, check_offload, check_sequence_parallel, check_passthrough,
    check_measuring, check_evaluation_suites, check_evaluation_gates, check_best, check_registered_weights,
    check_aliases, check_processes, check_suspend, check_places,
)  # fmt: skip
