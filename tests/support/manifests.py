"""Manifests for tests of the spec: one of each kind, small, with every common member written out."""

from __future__ import annotations

from typing import NamedTuple

from modelyard.errors import Fault, ManifestError
from modelyard.spec import Manifest, parse

TRAINING = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata:
  name: small
spec:
  objective: causal-lm
  model:
    architecture: llama
    config:
      hidden_size: 64
      intermediate_size: 128
      num_hidden_layers: 2
      num_attention_heads: 4
    tokenizer:
      train: {algorithm: bpe, vocabSize: 512}
  data:
    train:
      - name: first
        path: corpus/*.jsonl
        format: jsonl
      - {name: second, path: more/}
    validation:
      fraction: 0.1
    sequenceLength: 64
    packing: true
  optimization:
    steps: 100
    globalBatchTokens: 512
    optimizer: {name: adamw, learningRate: 0.001, betas: [0.9, 0.95], weightDecay: 0.1}
    schedule: {name: cosine, warmupSteps: 10, minimumRatio: 0.1}
    gradientClipping: 1.0
    precision: fp32
    seed: 7
  sharding:
    zeroStage: 1
    deepspeed: {}
  workers:
    count: 2
    resources: {cpu: "1", memory: 2Gi, gpu: 0}
  checkpoint:
    everySteps: 20
    keep: {last: 2, best: {metric: validation/loss, mode: min}}
  faultTolerance: {maxRestarts: 3, hangTimeoutSeconds: 600}
  evaluation:
    everySteps: 20
    suites:
      - {name: heldout, task: perplexity}
    gates:
      - {metric: heldout/bits_per_byte, atMost: 2.5}
  register:
    name: small
    from: last
    aliases: [candidate]
"""
EVALUATION = """\
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: check}
spec:
  target:
    model: registry://small@candidate
  suites:
    - name: heldout
      task: perplexity
      sources: [{name: text, path: corpus/*.jsonl}]
  gates:
    - {metric: heldout/perplexity, atMost: 40}
"""
DEPLOYMENT = """\
apiVersion: modelyard.dev/v1alpha1
kind: ModelDeployment
metadata: {name: answers}
spec:
  model: registry://small@1
  engine: {name: transformers, precision: fp32, maxSequences: 8, maxBatchTokens: 1024}
  replicas: 1
  resources: {cpu: "1", memory: 2Gi}
  api: {host: 127.0.0.1, port: 8000}
"""
MARK = "¦"  # stands before the character that a fault must point at


class Marked(NamedTuple):
    """A text without its mark, and where the mark stood (counted from 1; 0, 0 without one)."""

    text: str
    line: int
    column: int


def edited(base: str, old: str, new: str) -> Marked:
    """`base` with one place changed; `new` may hold a mark."""
    assert base.count(old) == 1, f"{old!r} stands {base.count(old)} times in the manifest"
    return marked(base.replace(old, new))


def marked(text: str) -> Marked:
    """Take the mark out of a text."""
    at = text.find(MARK)
    if at < 0:
        return Marked(text, 0, 0)
    before = text[:at]
    return Marked(text.replace(MARK, ""), before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)


def faults_of(text: str, *overrides: str) -> tuple[Fault, ...]:
    """Every fault of a manifest; none when it is good."""
    try:
        parse(text, origin="job.yaml", overrides=overrides)
    except ManifestError as error:
        return error.faults
    return ()


def the(text: str) -> Manifest:
    """The one manifest of a text."""
    (manifest,) = parse(text, origin="job.yaml")
    return manifest
