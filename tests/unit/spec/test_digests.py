"""Digests: the same meaning has the same digest, another meaning another one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.spec import TrainingJob, from_dict, parse, spec_digest, to_dict, to_yaml, training_digest
from modelyard.spec.digests import canonical
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited, the

BASES = (TRAINING, EVALUATION, DEPLOYMENT)


def _shuffled(value: Any, chance: random.Random) -> Any:
    """The same mapping in another order, whole numbers of free keys as they are."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _shuffled(value[key], chance) for key in keys}
    return [_shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(st.sampled_from(BASES), st.randoms(use_true_random=False), st.booleans())
def test_order_and_written_defaults_change_nothing(base: str, chance: random.Random, defaults: bool) -> None:
    manifest = the(base)
    again = from_dict(_shuffled(to_dict(manifest, defaults=defaults), chance))
    assert again == manifest
    assert spec_digest(again) == spec_digest(manifest)
    if isinstance(manifest, TrainingJob) and isinstance(again, TrainingJob):
        assert training_digest(again) == training_digest(manifest)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("defaults", [True, False])
def test_yaml_reads_back_as_the_same(base: str, defaults: bool) -> None:
    manifest = the(base)
    text = to_yaml(manifest, defaults=defaults)
    assert parse(text, origin="again") == [manifest]
    assert "null" not in text
    assert spec_digest(parse(json.dumps(to_dict(manifest, defaults=defaults)), origin="j")[0]) == spec_digest(manifest)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learningRate: 0.001, ", ""),  # the default, left out
        ("learningRate: 0.001", "learningRate: 1e-3"),
        ("gradientClipping: 1.0", "gradientClipping: 1"),
        ("    deepspeed: {}\n", ""),
        ('cpu: "1"', "cpu: 1"),
        ("    packing: true\n", ""),
        ("name: small\nspec", "name: renamed\n  labels: {team: a}\nspec"),  # metadata is not the spec
    ],
)
def test_another_spelling_is_the_same(old: str, new: str) -> None:
    assert spec_digest(the(edited(TRAINING, old, new).text)) == spec_digest(the(TRAINING))


def test_dependent_defaults_written_out_are_the_same() -> None:
    bare = TRAINING.replace("    tokenizer:\n      train: {algorithm: bpe, vocabSize: 512}\n", "")
    bare = bare.replace("    globalBatchTokens: 512\n", "")
    full = bare.replace("    steps: 100\n", "    steps: 100\n    globalBatchExamples: 8\n")
    full = full.replace("  data:\n", "    tokenizer: {train: {algorithm: bpe, vocabSize: 4096}}\n  data:\n")
    assert spec_digest(the(bare)) == spec_digest(the(full))


@pytest.mark.parametrize(
    ("old", "new", "trains_the_same"),
    [
        ("seed: 7", "seed: 8", False),
        ("hidden_size: 64", "hidden_size: 128", False),
        ("path: more/", "path: less/", False),
        ("vocabSize: 512", "vocabSize: 513", False),
        ("precision: fp32", "precision: bf16", False),
        ("zeroStage: 1", "zeroStage: 2", True),
        ("count: 2", "count: 1", True),
        ("atMost: 2.5", "atMost: 2.4", True),
        ("everySteps: 20\n    keep", "everySteps: 40\n    keep", True),
        ("[candidate]", "[candidate, other]", True),
    ],
)
def test_another_meaning_is_another_digest(old: str, new: str, trains_the_same: bool) -> None:
    before, after = the(TRAINING), the(edited(TRAINING, old, new).text)
    assert isinstance(before, TrainingJob)
    assert isinstance(after, TrainingJob)
    assert spec_digest(before) != spec_digest(after)
    assert (training_digest(before) == training_digest(after)) is trains_the_same


def test_a_digest_is_what_it_was() -> None:
    """Golden: when this changes, every recorded digest of users changes; raise DIGEST_VERSION and say so."""
    job = the(TRAINING)
    assert isinstance(job, TrainingJob)
    assert spec_digest(job) == "sha256:15b06330a5c2ab79ad23c7ea0f2a8351c5b89e8a337b51967a3239da8274e59e"
    assert training_digest(job) == "sha256:d02b76ad9be9c883086840b6db4e5db8a55ea317f11dd08c3d063b2563f458f7"


def test_the_canonical_document_holds_no_defaults() -> None:
    assert canonical(the(DEPLOYMENT).spec) == {
        "model": "registry://small@1",
        "engine": {"maxSequences": 8, "maxBatchTokens": 1024},
        "replicas": 1,
    }
