# ruff: noqa: E501  (a table: one case a line)
"""The table of faults: each class of mistake, where it is told to stand, and in which words."""

from __future__ import annotations

import pytest

from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited, faults_of

# (name, what is written, what is written instead with ¦ before the place pointed at, path, words of the message)
Case = tuple[str, str, str, str, tuple[str, ...]]

STRUCTURE: list[Case] = [
    ("no apiVersion", "apiVersion: modelyard.dev/v1alpha1\nkind", "¦kind", "apiVersion", ("missing", "modelyard.dev/v1alpha1")),
    ("wrong apiVersion", "modelyard.dev/v1alpha1", "¦modelyard.dev/v9", "apiVersion", ('"modelyard.dev/v9"', "v1alpha1")),
    ("no kind", "apiVersion: modelyard.dev/v1alpha1\nkind: TrainingJob", "¦apiVersion: modelyard.dev/v1alpha1", "kind", ("missing", "EvaluationJob")),
    ("misspelt kind", "TrainingJob", "¦TraningJob", "kind", ("TraningJob", "did you mean TrainingJob")),
    ("kind of others", "TrainingJob", "¦ConfigMap", "kind", ("ConfigMap", "modelyard.dev/v1alpha1 only")),
    ("kind in lower case", "TrainingJob", "¦trainingjob", "kind", ("did you mean TrainingJob",)),
    ("kind is a number", "kind: TrainingJob", "kind: ¦4", "kind", ("is 4", "must be one of")),
    ("unknown field at the top", "spec:\n", "¦status: {}\nspec:\n", "status", ("is not a field", "known here", "metadata")),
    ("unknown field", "zeroStage: 1", "¦zeroStge: 1", "spec.sharding.zeroStge", ("is not a field", "did you mean zeroStage")),
    ("snake case", "sequenceLength: 64", "¦sequence_length: 64", "spec.data.sequence_length", ("did you mean sequenceLength",)),
    ("unknown field in a list", "{name: second, path: more/}", "{name: second, path: more/, ¦pases: 2}", "spec.data.train[1].pases", ("did you mean passes",)),
    ("unknown and near to nothing", "seed: 7", "¦turbo: 7", "spec.optimization.turbo", ("is not a field", "known here", "steps")),
    ("hostPath", "  register:", "  runtime: {volumes: [{name: v, mountPath: /v, emptyDir: {}, ¦hostPath: {path: /}}]}\n  register:", "spec.runtime.volumes[0].hostPath", ("is not a field",)),
    ("missing field", "  objective: causal-lm\n", "", "spec.objective", ("is missing", "What the model learns")),
    ("missing register", "  register:\n    name: small\n    from: last\n    aliases: [candidate]\n", "", "spec.register", ("is missing",)),
    ("missing in a list", "{name: second, path: more/}", "¦{name: second}", "spec.data.train[1].path", ("is missing", "A file, a folder or a glob")),
    ("text for a whole number", "steps: 100", 'steps: ¦"100"', "spec.optimization.steps", ('is "100"', "whole number", "without quotes")),
    ("words for a whole number", "count: 2", "count: ¦two", "spec.workers.count", ('is "two"', "whole number")),
    ("number with a unit", "hangTimeoutSeconds: 600", "hangTimeoutSeconds: ¦10m", "spec.faultTolerance.hangTimeoutSeconds", ('is "10m"', "whole number", "unit")),
    ("fraction for a whole number", "steps: 100", "steps: ¦100.5", "spec.optimization.steps", ("is 100.5", "whole number", "write 100")),
    ("true for a whole number", "count: 2", "count: ¦true", "spec.workers.count", ("is true", "whole number")),
    ("text for a number", "learningRate: 0.001", "learningRate: ¦fast", "spec.optimization.optimizer.learningRate", ('is "fast"', "a number")),
    ("text for true", "packing: true", 'packing: ¦"true"', "spec.data.packing", ("true or false", "without quotes")),
    ("number for true", "packing: true", "packing: ¦1", "spec.data.packing", ("is 1", "true or false")),
    ("number for text", "path: corpus/*.jsonl", "path: ¦2024", "spec.data.train[0].path", ("is 2024", "text", '"2024"')),
    ("mapping for a list", "aliases: [candidate]", "aliases: ¦candidate", "spec.register.aliases", ("a list", "dash")),
    ("list for a mapping", "validation:\n      fraction: 0.1", "validation: ¦[a]", "spec.data.validation", ("a list", "a mapping")),
    ("text for a mapping", "sharding:\n    zeroStage: 1\n    deepspeed: {}", "sharding: ¦zero3", "spec.sharding", ("a mapping",)),
    ("mapping for text", "path: corpus/*.jsonl", "path: ¦{glob: x}", "spec.data.train[0].path", ("a mapping", "must be text")),
    ("nothing behind the colon", "fraction: 0.1", "¦fraction:", "spec.data.validation.fraction", ("nothing stands here", "leave the field out")),
    ("null", "seed: 7", "seed: ¦null", "spec.optimization.seed", ("nothing stands here",)),
    ("null in a list", "[candidate]", "[¦~]", "spec.register.aliases[0]", ("nothing stands here",)),
    ("too small", "steps: 100", "steps: ¦0", "spec.optimization.steps", ("is 0", "at least 1")),
    ("negative", "everySteps: 20\n    keep", "everySteps: ¦-5\n    keep", "spec.checkpoint.everySteps", ("is -5", "at least 1")),
    ("negative number", "weightDecay: 0.1", "weightDecay: ¦-0.1", "spec.optimization.optimizer.weightDecay", ("is -0.1", "at least 0")),
    ("zero learning rate", "learningRate: 0.001", "learningRate: ¦0", "spec.optimization.optimizer.learningRate", ("is 0", "more than 0")),
    ("huge", "steps: 100", "steps: ¦99999999999999999999", "spec.optimization.steps", ("at most 1000000000",)),
    ("beyond numbers", "learningRate: 0.001", "learningRate: ¦1e999", "spec.optimization.optimizer.learningRate", ("is inf", "finite")),
    ("a beta of one", "betas: [0.9, 0.95]", "betas: [0.9, ¦1.0]", "spec.optimization.optimizer.betas[1]", ("is 1.0", "less than 1")),
    ("one beta", "betas: [0.9, 0.95]", "betas: ¦[0.9]", "spec.optimization.optimizer.betas", ("list of 1", "more items")),
    ("three betas", "betas: [0.9, 0.95]", "betas: ¦[0.9, 0.9, 0.9]", "spec.optimization.optimizer.betas", ("3 items", "at most 2")),
    ("fraction of one", "fraction: 0.1", "fraction: ¦1", "spec.data.validation.fraction", ("is 1", "less than 1")),
    ("no word of the list", "zeroStage: 1", "zeroStage: ¦4", "spec.sharding.zeroStage", ("is 4", "one of 0, 1, 2, 3")),
    ("misspelt word", "name: cosine", "name: ¦cosin", "spec.optimization.schedule.name", ("cosine, linear, constant, wsd", "did you mean cosine")),
    ("other optimizer", "name: adamw", "name: ¦sgd", "spec.optimization.optimizer.name", ('is "sgd"', "must be adamw")),
    ("other format", "format: jsonl", "format: ¦parquet", "spec.data.train[0].format", ('is "parquet"', "text, jsonl")),
    ("other task", "task: perplexity", "task: ¦mmlu", "spec.evaluation.suites[0].task", ('is "mmlu"', "must be perplexity")),
    ("empty list", "train:\n      - name: first\n        path: corpus/*.jsonl\n        format: jsonl\n      - {name: second, path: more/}", "train: ¦[]", "spec.data.train", ("0 items", "at least 1")),
    ("name with capitals", "metadata:\n  name: small", "metadata:\n  name: ¦Small", "metadata.name", ('is "Small"', "lower-case letters")),
    ("name with a slash", "register:\n    name: small", "register:\n    name: ¦a/../b", "spec.register.name", ("must be a name",)),
    ("job name that begins with a digit", "metadata:\n  name: small", "metadata:\n  name: ¦1st", "metadata.name", ("a letter first",)),
    ("name too long", "metadata:\n  name: small", "metadata:\n  name: ¦" + "a" * 64, "metadata.name", ("at most 63",)),
    ("name with a newline", "metadata:\n  name: small", 'metadata:\n  name: ¦"small\\n"', "metadata.name", ("must be a name",)),
    ("no quantity", "memory: 2Gi", "memory: ¦2GB", "spec.workers.resources.memory", ('is "2GB"', "Kubernetes quantity")),
    ("fraction as quantity", 'cpu: "1"', "cpu: ¦0.5", "spec.workers.resources.cpu", ("is 0.5", "text", '"0.5"')),
    ("empty path", "path: corpus/*.jsonl", 'path: ¦""', "spec.data.train[0].path", ("at least 1 char",)),
]  # fmt: skip

WRITING: list[Case] = [
    ("octal", "steps: 100", "steps: ¦0100", "spec.optimization.steps", ("octal", "write 100")),
    ("old boolean", "packing: true", "packing: ¦yes", "spec.data.packing", ("true or false to some", 'or "yes"')),
    ("Norway", "name: second", "name: ¦no", "spec.data.train[1].name", ("some YAML readers", '"no"')),
    ("underscored number", "steps: 100", "steps: ¦1_000", "spec.optimization.steps", ("only to some", "write 1000")),
    ("hexadecimal", "seed: 7", "seed: ¦0x1F", "spec.optimization.seed", ("only to some", "decimal")),
    ("base sixty", "hangTimeoutSeconds: 600", "hangTimeoutSeconds: ¦10:00", "spec.faultTolerance.hangTimeoutSeconds", ("base 60",)),
    ("not a number", "learningRate: 0.001", "learningRate: ¦.nan", "spec.optimization.optimizer.learningRate", ("finite",)),
    ("infinity", "gradientClipping: 1.0", "gradientClipping: ¦.inf", "spec.optimization.gradientClipping", ("finite",)),
    ("date", "path: corpus/*.jsonl", "path: ¦2026-11-22", "spec.data.train[0].path", ("date", '"2026-11-22"')),
    ("key twice", "    seed: 7\n", "    seed: 7\n    ¦seed: 8\n", "spec.optimization.seed", ("written twice", "line 33")),
    ("tag", "seed: 7", "seed: ¦!!int 7", "spec.optimization.seed", ("has the tag", "plainly")),
    ("merge key", "    seed: 7\n", "    seed: 7\n    ¦<<: {steps: 3}\n", 'spec.optimization["<<"]', ("merge keys",)),
    ("alias without an anchor", "seed: 7", "seed: ¦*seven", "spec.optimization.seed", ("no anchor",)),
    ("list as a key", "    seed: 7\n", "    seed: 7\n    ¦[a, b]: 8\n", "spec.optimization", ("a key must be a plain word",)),
]  # fmt: skip

RULES: list[Case] = [
    ("config: misspelt key", "hidden_size: 64", "¦hiden_size: 64", "spec.model.config.hiden_size", ("transformers config", "did you mean hidden_size")),
    ("config: key of others", "hidden_size: 64", "¦n_embd: 64", "spec.model.config.n_embd", ("is not a key",)),
    ("config: derived vocabulary", "hidden_size: 64", "hidden_size: 64\n      ¦vocab_size: 100", "spec.model.config.vocab_size", ("derived from the tokenizer",)),
    ("config: derived token id", "hidden_size: 64", "hidden_size: 64\n      ¦pad_token_id: 0", "spec.model.config.pad_token_id", ("derived from the tokenizer",)),
    ("config: derived positions", "hidden_size: 64", "hidden_size: 64\n      ¦max_position_embeddings: 9", "spec.model.config.max_position_embeddings", ("derived", "data.sequenceLength")),
    ("config: derived dtype", "hidden_size: 64", "hidden_size: 64\n      ¦dtype: float16", "spec.model.config.dtype", ("optimization.precision",)),
    ("config: wrong type", "hidden_size: 64", 'hidden_size: ¦"64"', "spec.model.config.hidden_size", ('is "64"', "whole number")),
    ("config: null where none may be", "hidden_size: 64", "hidden_size: ¦null", "spec.model.config.hidden_size", ("is null", "whole number")),
    ("config: negative size", "num_hidden_layers: 2", "num_hidden_layers: ¦0", "spec.model.config.num_hidden_layers", ("is 0", "at least 1")),
    ("config: heads and width", "num_attention_heads: 4", "num_attention_heads: ¦5", "spec.model.config.num_attention_heads", ("5 does not divide hidden_size 64", "divisor of 64")),
    ("config: odd heads", "hidden_size: 64", "hidden_size: 60", "spec.model.config.num_attention_heads", ("15 wide", "even")),
    ("config: key-value heads", "hidden_size: 64", "hidden_size: 64\n      num_key_value_heads: ¦3", "spec.model.config.num_key_value_heads", ("num_key_value_heads 3 does not divide num_attention_heads 4",)),
    ("unknown architecture", "architecture: llama", "architecture: ¦lama", "spec.model.architecture", ("knows no model_type", "did you mean llama")),
    ("architecture without a language model", "architecture: llama", "architecture: ¦clip", "spec.model.architecture", ("no causal language model of clip",)),
    ("no origin", "    architecture: llama\n    config:\n      hidden_size: 64\n      intermediate_size: 128\n      num_hidden_layers: 2\n      num_attention_heads: 4\n", "", "spec.model", ("none of architecture, from, module", "exactly one")),
    ("module", "    architecture: llama\n    config:\n      hidden_size: 64\n      intermediate_size: 128\n      num_hidden_layers: 2\n      num_attention_heads: 4\n", "    ¦module: mine.net:build\n", "spec.model.module", ("not built yet",)),
    ("hf reference", "train: {algorithm: bpe, vocabSize: 512}", "from: ¦hf://org/name@main", "spec.model.tokenizer.from", ("hf:// is not built yet", "download")),
    ("registry without a name", "train: {algorithm: bpe, vocabSize: 512}", "from: ¦registry://@candidate", "spec.model.tokenizer.from", ("names no model",)),
    ("registry without a version", "train: {algorithm: bpe, vocabSize: 512}", "from: ¦registry://small@", "spec.model.tokenizer.from", ("no alias or version",)),
    ("two tokenizers", "train: {algorithm: bpe, vocabSize: 512}", "train: {vocabSize: 512}\n      ¦from: ./folder", "spec.model.tokenizer.from", ("is set beside train",)),
    ("no tokenizer", "tokenizer:\n      train: {algorithm: bpe, vocabSize: 512}", "tokenizer: ¦{}", "spec.model.tokenizer", ("none of train, from",)),
    ("small vocabulary", "vocabSize: 512", "vocabSize: ¦100", "spec.model.tokenizer.train.vocabSize", ("is 100", "at least 257")),
    ("adapter", "    tokenizer:", "    ¦adapter: {lora: {rank: 4}}\n    tokenizer:", "spec.model.adapter", ("not built yet",)),
    ("other objective", "objective: causal-lm", "objective: ¦chat", "spec.objective", ("chat is not built yet", "causal-lm")),
    ("member of another objective", "  model:", "  ¦maskedLm: {probability: 0.2}\n  model:", "spec.maskedLm", ("belongs to objective masked-lm", "not built yet")),
    ("preparation", "    packing: true", "    packing: true\n    ¦prepare: [{step: nearDuplicates}]", "spec.data.prepare", ("not built yet",)),
    ("same source name", "name: second", "name: ¦first", "spec.data.train[1].name", ('"first"', "already")),
    ("path of the web", "path: corpus/*.jsonl", "path: ¦https://host/x.jsonl", "spec.data.train[0].path", ("https:// address", "only files")),
    ("path that goes up", "path: corpus/*.jsonl", "path: ¦../corpus", "spec.data.train[0].path", ("goes up", "storage root")),
    ("path of the shell", "path: corpus/*.jsonl", "path: ¦~/corpus", "spec.data.train[0].path", ("not expanded",)),
    ("column of another objective", "{name: second, path: more/}", "{name: second, path: more/, columns: {¦label: tone}}", "spec.data.train[1].columns.label", ("objectives that are not built yet",)),
    ("fraction beside sources", "fraction: 0.1", "sources: [{name: v, path: v}]\n      ¦fraction: 0.1", "spec.data.validation.fraction", ("is set beside sources",)),
    ("validation read twice", "fraction: 0.1", "sources: [{name: v, path: v, passes: ¦2}]", "spec.data.validation.sources[0].passes", ("must be 1", "read once")),
    ("no length", "    steps: 100\n", "", "spec.optimization", ("none of steps, epochs, tokens",)),
    ("two lengths", "steps: 100", "steps: 100\n    ¦epochs: 2", "spec.optimization.epochs", ("is set beside steps",)),
    ("two batches", "globalBatchTokens: 512", "globalBatchTokens: 512\n    ¦globalBatchExamples: 8", "spec.optimization.globalBatchExamples", ("beside globalBatchTokens",)),
    ("batch of broken sequences", "globalBatchTokens: 512", "globalBatchTokens: ¦500", "spec.optimization.globalBatchTokens", ("is 500", "sequences of 64", "448 or 512")),
    ("batch below a sequence", "globalBatchTokens: 512", "globalBatchTokens: ¦32", "spec.optimization.globalBatchTokens", ("is 32", "write 64")),
    ("more workers than sequences", "globalBatchTokens: 512", "globalBatchTokens: ¦64", "spec.optimization.globalBatchTokens", ("batch of 1 for 2 workers",)),
    ("warm-up without end", "warmupSteps: 10", "warmupSteps: ¦100", "spec.optimization.schedule.warmupSteps", ("only 100 steps", "less than 100")),
    ("decay of another schedule", "warmupSteps: 10", "warmupSteps: 10, ¦decaySteps: 10", "spec.optimization.schedule.decaySteps", ("belongs to wsd",)),
    ("decay longer than the run", "{name: cosine, warmupSteps: 10, minimumRatio: 0.1}", "{name: wsd, warmupSteps: 10, decaySteps: ¦95}", "spec.optimization.schedule.decaySteps", ("is 95", "at most 90")),
    ("ratio of a constant", "{name: cosine, warmupSteps: 10, minimumRatio: 0.1}", "{name: constant, ¦minimumRatio: 0.5}", "spec.optimization.schedule.minimumRatio", ("constant",)),
    ("fp16", "precision: fp32", "precision: ¦fp16", "spec.optimization.precision", ("fp16 is not built yet", "bf16")),
    ("offload", "    deepspeed: {}", "    offload: {optimizer: ¦cpu}", "spec.sharding.offload.optimizer", ("not built yet", "none")),
    ("sequence parallelism", "    deepspeed: {}", "    sequenceParallel: ¦2", "spec.sharding.sequenceParallel", ("not built yet", "write 1")),
    ("override of a field", "deepspeed: {}", "deepspeed: {¦gradient_clipping: 2.0}", "spec.sharding.deepspeed.gradient_clipping", ("decided by spec.optimization.gradientClipping",)),
    ("override of the stage", "deepspeed: {}", "deepspeed: {zero_optimization: {¦stage: 3}}", "spec.sharding.deepspeed.zero_optimization.stage", ("decided by spec.sharding.zeroStage",)),
    ("override of the batch", "deepspeed: {}", "deepspeed: {¦train_batch_size: 8}", "spec.sharding.deepspeed.train_batch_size", ("globalBatchTokens",)),
    ("unknown override", "deepspeed: {}", "deepspeed: {zero_optimization: {¦overlap_com: true}}", "spec.sharding.deepspeed.zero_optimization.overlap_com", ("did you mean overlap_comm",)),
    ("override of a wrong type", "deepspeed: {}", "deepspeed: {zero_optimization: {overlap_comm: ¦1}}", "spec.sharding.deepspeed.zero_optimization.overlap_comm", ("is 1", "true or false")),
    ("elastic workers", "count: 2", "count: 2\n    ¦minCount: 1", "spec.workers.minCount", ("not built yet",)),
    ("fewest above count", "count: 2", "count: 2\n    minCount: ¦3", "spec.workers.minCount", ("is 3", "more than count: 2")),
    ("no cpu", 'cpu: "1"', 'cpu: ¦"0"', "spec.workers.resources.cpu", ("more than 0",)),
    ("memory without its unit", "memory: 2Gi", "memory: ¦2", "spec.workers.resources.memory", ("2 bytes", "2Gi")),
    ("best by the highest loss", "mode: min", "mode: ¦max", "spec.checkpoint.keep.best.mode", ("lower is better",)),
    ("best without a measure", "  evaluation:\n    everySteps: 20\n", "  evaluation:\n", "spec.checkpoint.keep.best", ("needs the validation loss", "everySteps: 20")),
    ("best that is seldom measured", "  evaluation:\n    everySteps: 20\n", "  evaluation:\n    everySteps: 30\n", "spec.checkpoint.keep.best", ("30 and 20 seldom meet", "everySteps: 20")),
    ("measured on what was trained on", "fraction: 0.1", "sources: [{name: v, path: ¦more/}]", "spec.data.validation.sources[0].path", ("also the training source second",)),
    ("registers a best that is not kept", "keep: {last: 2, best: {metric: validation/loss, mode: min}}\n  faultTolerance: {maxRestarts: 3, hangTimeoutSeconds: 600}\n  evaluation:\n    everySteps: 20\n    suites:\n      - {name: heldout, task: perplexity}\n    gates:\n      - {metric: heldout/bits_per_byte, atMost: 2.5}\n  register:\n    name: small\n    from: last", "keep: {last: 2}\n  register:\n    name: small\n    from: ¦best", "spec.register.from", ("no best checkpoint",)),
    ("alias of digits", "[candidate]", '[¦"12"]', "spec.register.aliases[0]", ("looks like a version",)),
    ("alias twice", "[candidate]", "[candidate, ¦candidate]", "spec.register.aliases[1]", ("already",)),
    ("suite named as a split", "- {name: heldout, task: perplexity}", "- {name: heldout, task: perplexity}\n      - {name: ¦validation, task: perplexity}", "spec.evaluation.suites[1].name", ("names a split",)),
    ("suite twice", "- {name: heldout, task: perplexity}", "- {name: heldout, task: perplexity}\n      - {name: ¦heldout, task: perplexity}", "spec.evaluation.suites[1].name", ("already",)),
    ("gate on no suite", "metric: heldout/bits_per_byte", "metric: ¦held/bits_per_byte", "spec.evaluation.gates[0].metric", ("no suite held", "did you mean heldout/bits_per_byte")),
    ("gate on no metric", "metric: heldout/bits_per_byte", "metric: ¦heldout/bleu", "spec.evaluation.gates[0].metric", ("no metric bleu", "it has perplexity, bits_per_byte")),
    ("gate without a suite", "metric: heldout/bits_per_byte", "metric: ¦perplexity", "spec.evaluation.gates[0].metric", ("suite/metric",)),
    ("gate without a bound", "- {metric: heldout/bits_per_byte, atMost: 2.5}", "- ¦{metric: heldout/bits_per_byte}", "spec.evaluation.gates[0]", ("none of atMost, atLeast",)),
    ("gate with two bounds", "atMost: 2.5", "atMost: 2.5, ¦atLeast: 1", "spec.evaluation.gates[0].atLeast", ("is set beside atMost",)),
    ("gate that nothing passes", "metric: heldout/bits_per_byte, atMost: 2.5", "metric: heldout/token_accuracy, atLeast: ¦40", "spec.evaluation.gates[0].atLeast", ("is 40", "between 0 and 1")),
    ("gate against a baseline", "atMost: 2.5", "¦notWorseThanBaseline: {margin: 0.01}", "spec.evaluation.gates[0].notWorseThanBaseline", ("no baseline to compare with", "an EvaluationJob with a baseline")),
    ("suspend", "  register:", "  ¦suspend: true\n  register:", "spec.suspend", ("not built yet",)),
    ("variable with two values", "  register:", "  runtime: {env: [{name: A, value: x, ¦valueFrom: {secretKeyRef: {name: a, key: b}}}]}\n  register:", "spec.runtime.env[0].valueFrom", ("is set beside value",)),
    ("secret in clear", "  register:", "  runtime: {env: [{name: API_TOKEN, value: ¦hunter2}]}\n  register:", "spec.runtime.env[0].value", ("looks like a secret", "secretKeyRef")),
    ("volume of two sources", "  register:", "  runtime: {volumes: [{name: v, mountPath: /v, secret: {secretName: s}, ¦emptyDir: {}}]}\n  register:", "spec.runtime.volumes[0].emptyDir", ("is set beside secret",)),
    ("secret anywhere", "  register:", "  runtime: {annotations: {note: ¦hf_abcdefghijklmnopqrstuvwx}}\n  register:", "spec.runtime.annotations.note", ("looks like a secret",)),
]  # fmt: skip

EVALUATION_RULES: list[Case] = [
    ("no target", "target:\n    model: registry://small@candidate", "target: ¦{}", "spec.target", ("none of model, endpoint",)),
    ("endpoint", "model: registry://small@candidate", "¦endpoint: {url: http://h/v1, model: m}", "spec.target.endpoint", ("not built yet",)),
    ("gate without a baseline", "atMost: 40", "¦notWorseThanBaseline: {margin: 1}", "spec.gates[0].notWorseThanBaseline", ("no baseline to compare with", "add baseline")),
    ("hf baseline", "  suites:", "  baseline: {model: ¦hf://org/name}\n  suites:", "spec.baseline.model", ("hf:// is not built yet",)),
    ("baseline of no model", "  suites:", "  baseline: {model: ¦registry://small@}\n  suites:", "spec.baseline.model", ("no alias or version",)),
    ("promote", "  suites:", "  ¦promote: {alias: stable}\n  suites:", "spec.promote", ("not built yet", "modelyard alias")),
    ("suite without documents", "- name: heldout\n      task: perplexity\n      sources: [{name: text, path: corpus/*.jsonl}]", "- ¦name: heldout\n      task: perplexity", "spec.suites[0]", ("has no documents",)),
    ("gate below what can be", "atMost: 40", "atMost: ¦0.5", "spec.gates[0].atMost", ("is 0.5", "1 or more")),
    ("hf target", "registry://small@candidate", "¦hf://org/name", "spec.target.model", ("hf:// is not built yet",)),
]  # fmt: skip

DEPLOYMENT_RULES: list[Case] = [
    ("engine", "name: transformers", "name: ¦vllm", "spec.engine.name", ("vllm is not built yet",)),
    ("engine in fp16", "precision: fp32", "precision: ¦fp16", "spec.engine.precision", ("fp16 is not built yet",)),
    ("batch below its sequences", "maxBatchTokens: 1024", "maxBatchTokens: ¦4", "spec.engine.maxBatchTokens", ("is 4", "8 or more")),
    ("autoscaling beside replicas", "replicas: 1", "replicas: 1\n  ¦autoscaling: {maxReplicas: 3}", "spec.autoscaling", ("is set beside replicas",)),
    ("autoscaling upside down", "replicas: 1", "autoscaling: {minReplicas: ¦4, maxReplicas: 3}", "spec.autoscaling.minReplicas", ("more than maxReplicas: 3",)),
    ("canary", "  replicas: 1", "  rollout: {strategy: ¦canary}\n  replicas: 1", "spec.rollout.strategy", ("canary is not built yet", "surge")),
    ("in place", "  replicas: 1", "  rollout: {strategy: ¦inPlace}\n  replicas: 1", "spec.rollout.strategy", ("not built yet",)),
    ("gated rollout without suites", "  replicas: 1", "  rollout: {evaluation: ¦{suites: []}}\n  replicas: 1", "spec.rollout.evaluation", ("has no suites",)),
    ("gated rollout without gates", "  replicas: 1", "  rollout: {evaluation: ¦{suites: [{name: a, task: perplexity, sources: [{name: a, path: c/}]}]}}\n  replicas: 1", "spec.rollout.evaluation", ("has no gates",)),
    ("gated rollout without documents", "  replicas: 1", "  rollout: {evaluation: {suites: [¦{name: a, task: perplexity}], gates: [{metric: a/perplexity, atMost: 9}]}}\n  replicas: 1", "spec.rollout.evaluation.suites[0]", ("has no documents",)),
    ("gate of a rollout that bounds nothing", "  replicas: 1", "  rollout: {evaluation: {suites: [{name: a, task: perplexity, sources: [{name: a, path: c/}]}], gates: [{metric: ¦b/perplexity, atMost: 9}]}}\n  replicas: 1", "spec.rollout.evaluation.gates[0].metric", ("there is no suite b",)),
    ("keys", "port: 8000", "port: 8000, ¦keysFile: keys.txt", "spec.api.keysFile", ("not built yet", "127.0.0.1")),
    ("port", "port: 8000", "port: ¦80000", "spec.api.port", ("is 80000", "at most 65535")),
    ("path for a model", "registry://small@1", "¦../model", "spec.model", ("goes up",)),
]  # fmt: skip

TABLE = [
    *((TRAINING, case) for case in (*STRUCTURE, *WRITING, *RULES)),
    *((EVALUATION, case) for case in EVALUATION_RULES),
    *((DEPLOYMENT, case) for case in DEPLOYMENT_RULES),
]


@pytest.mark.parametrize(("base", "case"), TABLE, ids=[case[0] for _, case in TABLE])
def test_one_mistake_is_one_fault_with_its_place_and_the_way_out(base: str, case: Case) -> None:
    _, old, new, path, words = case
    text, line, column = edited(base, old, new)
    faults = faults_of(text)
    assert len(faults) == 1, "\n".join(map(str, faults))
    fault = faults[0]
    assert fault.path == path
    assert fault.origin == "job.yaml"
    assert fault.line > 0
    assert fault.column > 0
    if line:
        assert (fault.line, fault.column) == (line, column), str(fault)
    for word in words:
        assert word in str(fault)


@pytest.mark.parametrize("base", [TRAINING, EVALUATION, DEPLOYMENT])
def test_the_bases_are_good(base: str) -> None:
    assert faults_of(base) == ()


def test_the_table_is_large_and_its_names_differ() -> None:
    names = [case[0] for _, case in TABLE]
    assert len(names) == len(set(names))
    assert len(names) >= 120
