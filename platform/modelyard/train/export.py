"""From a commit to a plain Hugging Face folder: what any tool that reads transformers models can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard import checkpoint
from modelyard.checkpoint import Commit
from modelyard.checkpoint.ranges import num_elements
from modelyard.model import DTYPES, model_card, save_folder
from modelyard.spec import TrainingJob
from modelyard.yard import Guard, discard, fsync_folder, fsync_tree, temporary_name


def export_commit(
    commit: Commit, config: Any, job: TrainingJob, out: Path, *, tokenizer_folder: Path, guard: Guard
) -> int:
    """Write the weights of `commit` with config, tokenizer and card to `out`; returns the number of parameters.

    One process suffices: fragments of every rank are read, whatever layout wrote them. What stood in `out` is replaced
    when all is written, unless `guard` raises: a fenced worker that wakes amid the writing changes nothing.
    """
    dtype = DTYPES[job.spec.optimization.precision]
    parameters = sum(num_elements(t) for t in commit.record.tensors if t.kind != "buffer")
    facts: dict[str, str | int | float] = {
        "training steps": commit.record.step,
        "tokens": commit.record.tokens,
        "training digest": commit.record.training_digest,
        "dataset digest": commit.record.dataset_digest,
        **commit.record.metrics,
    }
    card = model_card(job.spec.register.name, model_type=config.model_type, parameters=parameters, facts=facts)
    made = temporary_name(out)
    save_folder(checkpoint.assemble(commit), config, made, tokenizer_folder=tokenizer_folder, card=card, dtype=dtype)
    fsync_tree(made)  # the stage's record, which follows, is durable: what it names must be too
    discard(out, guard=guard)
    made.rename(out)
    fsync_folder(out.parent)
    return parameters
