"""From a commit to a plain Hugging Face folder: what any tool that reads transformers models can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard import checkpoint
from modelyard.checkpoint import Commit
from modelyard.checkpoint.ranges import num_elements
from modelyard.model import DTYPES, model_card, save_folder
from modelyard.spec import TrainingJob
from modelyard.yard import fsync_tree


def export_commit(commit: Commit, config: Any, job: TrainingJob, out: Path, *, tokenizer_folder: Path) -> int:
    """Write the weights of `commit` with config, tokenizer and card to `out`; returns the number of parameters.

    One process suffices: fragments of every rank are read, whatever layout wrote them.
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
    save_folder(checkpoint.assemble(commit), config, out, tokenizer_folder=tokenizer_folder, card=card, dtype=dtype)
    fsync_tree(out)  # the stage's record, which follows, is durable: what it names must be too
    return parameters
