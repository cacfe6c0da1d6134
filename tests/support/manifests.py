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


LEAST = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: least}
spec:
  objective: causal-lm
  model: {architecture: llama}
  data: {train: [{name: text, path: texts/}]}
  optimization: {steps: 10}
  register: {name: least}
"""
EVERYTHING = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata:
  name: e-very-thing9
  labels: {team: a}
  annotations: {note: "ä ö 漢字"}
spec:
  objective: causal-lm
  model: {from: "registry://base@stable", tokenizer: {from: "./tokenizers/größe"}}
  data:
    train:
      - {name: 0-first, path: "a/**/*.txt.zst", format: text, passes: 0.5, columns: {text: body}}
      - {name: second, path: /abs/b.jsonl, passes: 3}
    validation: {sources: [{name: held, path: c/, format: jsonl}]}
    prepare: []
    maxBadFraction: 1
    maxRecordBytes: 2147483648
    sequenceLength: 2
    packing: false
  optimization:
    tokens: 1000000000000000
    globalBatchExamples: 64
    optimizer: {learningRate: 100, betas: [0, 0.999], weightDecay: 0}
    schedule: {name: wsd, warmupSteps: 0, minimumRatio: 0, decaySteps: 10}
    gradientClipping: 0
    precision: bf16
    seed: 0
  sharding:
    zeroStage: 3
    offload: {optimizer: none, parameters: none}
    activationCheckpointing: true
    sequenceParallel: 1
    deepspeed: {zero_optimization: {overlap_comm: true, reduce_bucket_size: 500000}, dump_state: false}
  workers:
    count: 64
    minCount: 64
    perPod: 8
    resources: {cpu: 500m, memory: 2147483648, gpu: 1, extended: {rdma/ib: 1}}
  checkpoint: {everySteps: 7, keep: {last: 1, best: {metric: validation/loss, mode: min}}}
  faultTolerance: {maxRestarts: 0, hangTimeoutSeconds: 1, onNonFiniteLoss: stop}
  evaluation:
    everySteps: 14
    suites:
      - {name: one, task: perplexity, sources: [{name: x, path: x/}]}
      - {name: two, task: perplexity}
    gates:
      - {metric: one/token_accuracy, atLeast: 0}
      - {metric: two/bits_per_byte, atMost: 2.5e0}
  register: {name: 9lives, from: best, aliases: [candidate, v1]}
  storage: {claimName: team-yard, subPath: a/b}
  runtime:
    image: registry.local/platform@sha256:0123456789abcdef
    imagePullPolicy: IfNotPresent
    imagePullSecrets: [{name: pull}]
    env:
      - {name: HF_HOME, value: ""}
      - {name: WORDS, valueFrom: {configMapKeyRef: {name: words, key: all, optional: true}}}
      - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
    envFrom: [{prefix: A_, secretRef: {name: all}}, {configMapRef: {name: more}}]
    volumes:
      - {name: scratch, mountPath: /scratch, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
      - {name: words, mountPath: /words, readOnly: true, configMap: {name: words}}
      - {name: keys, mountPath: /keys, secret: {secretName: keys}}
      - {name: more, mountPath: /more, persistentVolumeClaim: {claimName: more}}
    sharedMemory: 8Gi
    head: {cpu: 1, memory: 4Gi}
    queue: gold
    gpuResource: amd.com/gpu
    startDeadlineSeconds: 60
    activeDeadlineSeconds: 86400
    ttlSecondsAfterFinished: 0
    labels: {team: a}
    annotations: {note: long}
    nodeSelector: {pool: a100}
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}
    tolerations:
      - {key: gpu, operator: Exists, effect: NoSchedule}
      - {key: spot, value: "true", effect: NoExecute, tolerationSeconds: 0}
    serviceAccountName: trainer
    priorityClassName: high
  suspend: false
"""
GOOD = {
    "a training job": TRAINING,
    "an evaluation job": EVALUATION,
    "a deployment": DEPLOYMENT,
    "the least": LEAST,
    "every field": EVERYTHING,
    "an empty list beside a fraction": TRAINING.replace("fraction: 0.1", "fraction: 0.1\n      sources: []"),
    "epochs": TRAINING.replace("steps: 100\n", "epochs: 0.5\n"),
    "a deployment of a folder": DEPLOYMENT.replace("registry://small@1", "./models/small"),
    "a deployment without a number of replicas": DEPLOYMENT.replace("  replicas: 1\n", ""),
    "an evaluation without gates": EVALUATION.partition("  gates:")[0],
}
"""Manifests that `modelyard validate` accepts."""
