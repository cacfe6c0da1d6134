"""A manifest that holds a secret is refused, and the refusal does not repeat it."""

from __future__ import annotations

import pytest

from support.manifests import TRAINING, edited, faults_of

SECRETS = [
    "hf_" + "a1B2" * 6,
    "sk-" + "proj-" + "x9" * 12,
    "ghp_" + "Z" * 30,
    "github_pat_" + "q" * 24,
    "glpat-" + "w" * 20,
    "AKIA" + "ABCDEFGH12345678",
    "xoxb-" + "123456789012",
    "AIza" + "b" * 35,
    "npm_" + "c" * 36,
    "pypi-" + "d" * 40,
    "nvapi-" + "e" * 30,
    "hvs." + "f" * 24,
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    "https://user:hunter2pass@host/data.jsonl",
    "s3://key:secretsecret@bucket/x",
]
PLACES = [
    ("path: corpus/*.jsonl", 'path: "{}"'),
    ("metadata:\n  name: small", 'metadata:\n  name: small\n  annotations: {{note: "{}"}}'),
    ("hidden_size: 64", 'hidden_size: "{}"'),
    ("seed: 7", 'seed: "{}"'),
    ("architecture: llama", 'architecture: "{}"'),
    ("format: jsonl", 'format: "{}"'),
]


@pytest.mark.parametrize("secret", SECRETS, ids=[secret[:6] for secret in SECRETS])
@pytest.mark.parametrize("place", PLACES, ids=[place[0][:12] for place in PLACES])
def test_a_secret_is_refused_and_not_repeated(secret: str, place: tuple[str, str]) -> None:
    old, new = place
    faults = faults_of(edited(TRAINING, old, new.format(secret)).text)
    assert any("looks like a secret" in fault.message for fault in faults)
    assert secret not in "\n".join(map(str, faults))


@pytest.mark.parametrize("name", ["API_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "aws_secret", "HF_TOKEN"])
def test_a_variable_with_a_telling_name_takes_no_value(name: str) -> None:
    runtime = "  runtime: {{env: [{{name: {}, value: hunter2hunter2}}]}}\n  register:"
    faults = faults_of(edited(TRAINING, "  register:", runtime.format(name)).text)
    assert [fault.path for fault in faults] == ["spec.runtime.env[0].value"]
    assert "hunter2" not in str(faults[0])


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "KEYBOARD", "MONKEY"])
def test_ordinary_variables_are_fine(name: str) -> None:
    runtime = '  runtime: {{env: [{{name: {}, value: "1"}}]}}\n  register:'
    assert faults_of(edited(TRAINING, "  register:", runtime.format(name)).text) == ()
