"""Planted secrets are found in no text that passed through; the words of training stay."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modelyard.telemetry import MASK, is_secret_name, redact, redact_value, secret_values

NONE: dict[str, str] = {}

# (text, the secret in it). Made up, of the services' published forms.
PLANTED = [
    ("HF_TOKEN=qwhatever in the shell", "qwhatever"),
    ("using hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345 to download", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"),
    ("key sk-proj-abcDEF0123456789abcDEF0123456789 was refused", "abcDEF0123456789abcDEF0123456789"),
    ("sk-ant-api03-abcdefghijklmnop_QRSTUV-0123456789", "abcdefghijklmnop_QRSTUV-0123456789"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("push ghp_abcdefghijklmnopqrstuvwxyz0123456789 ok", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv", "11ABCDEFG0abcdefghijkl"),
    ("glpat-abcdefghij0123456789", "abcdefghij0123456789"),
    ("slack xoxb-123456789012-abcdefGHIJKL", "123456789012-abcdefGHIJKL"),
    ("https://hooks.slack.com/services/T000/B000/XXXXabcd", "XXXXabcd"),
    ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "SyA0123456789abcdefghijklmnopqrstuv"),
    ("sk_live_abcdefghij0123456789", "abcdefghij0123456789"),
    ("SG.abcdefghijklmnop0123.abcdefghijklmnop4567", "abcdefghijklmnop4567"),
    ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz0123456789"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF-123_45", "eyJzdWIiOiIxMjM0In0"),
    ("Authorization: Bearer abcdefgh", "abcdefgh"),
    ("{'authorization': 'Basic dXNlcjpodW50ZXIy'}", "dXNlcjpodW50ZXIy"),
    ("sent Bearer abcd1234efgh to the server", "abcd1234efgh"),
    ("X-Api-Key: rather-plain-words", "rather-plain-words"),
    ("https://user:hunter22@example.com/model", "hunter22"),
    ("https://ghost@example.com/model", "ghost"),
    ("postgres://team:p%40ss:word@db:5432/runs", "p%40ss:word"),
    ("s3://bucket/x?X-Amz-Signature=abcdef&X-Amz-Date=2026", "abcdef"),
    ("GET /v1?api_key=plain&model=quickstart", "plain"),
    ("https://host/download?token=plain", "plain"),
    ("https://host/blob?sv=2022&sig=abc%2Bdef%3D", "abc%2Bdef%3D"),
    ("password: hunter2", "hunter2"),
    ('{"password": "with \\"quotes\\" and spaces"}', "and spaces"),
    ("db_password='two words'", "two words"),
    ("PASSWORD=12345678", "12345678"),
    ("clientSecret: very-plain", "very-plain"),
    ("accessToken = plainwords", "plainwords"),
    ("token: a1b2c3d4e5", "a1b2c3d4e5"),
    ("mysql --password hunter2 -h db", "hunter2"),
    ("login --token plainwords", "plainwords"),
    ("curl -u team:hunter2 https://host", "hunter2"),
    ("- name: HF_TOKEN\n  value: plainwords\n", "plainwords"),
    ('{"name": "DB_PASSWORD", "value": "plain words"}', "plain words"),
    ("password: |\n  first line\n  second line\nother: 1\n", "second line"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\ndef\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz and cut off", "b3BlbnNz"),
    ("Set-Cookie: sid=31d4d96e407aad42", "31d4d96e407aad42"),
    (r"{\"password\": \"hunter2\"}", "hunter2"),
    (r'"{\"password\": \"with \\\"quotes\\\" and spaces\"}"', "and spaces"),
    (r"{\\\"password\\\": \\\"hunter2\\\"}", "hunter2"),
    ("secret_key_base: plainwords", "plainwords"),
    ("{'password': ['hunter2', 'second']}", "second"),
    ("{'password': {'k': 'hunter2'}}", "hunter2"),
]

PLAIN = [
    "step 50 loss 2.31 tokens 102400 tokens/s 4500.2",
    "tokens: 2048, globalBatchTokens: 4096, num_tokens=12",
    '{"bos_token": "<|endoftext|>", "pad_token": "<pad0001>", "eos_token_id": 0}',
    "tokenizer: {train: {algorithm: bpe, vocabSize: 4096}}",
    "columns: {tokens: tokens, tags: tags}",
    "apiKeySecretRef: {name: openai, key: token}",
    "keysSecretRef: {name: gateway, key: keys}",
    "valueFrom: {secretKeyRef: {name: hub, key: token}}",
    "secret:\n  name: hub\n",
    "unexpected token: foo at line 3",
    "KeyError: 'hidden_size'",
    "Basic training of a tokenizer; bearer of news",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "registry://quickstart@candidate",
    "hf://org/name@main",
    "hf://name@main",
    "https://example.com/a@2x.png?model=quickstart&key_size=3",
    "passed 12 tests; passes: 1.0",
    "key: value, sort_key=name, primary_key: id",
    "author: someone, authority=none",
    "token=17 of rank 3",
    "api_key: null, password: ${DB_PASSWORD}, secret = None",
    r"{\"password\": \"\", \"user\": \"team\"}",
    "volumes: [{name: hub, secret: {secretName: hub}}]",
    "{'password': [], 'bos_token': ['<s>']}",
    "modelyard run -f job.yaml --set spec.optimization.tokens=100000",
]


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_planted_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret in text
    clean = redact(text, environment=NONE)
    assert secret not in clean
    assert MASK in clean


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text, environment=NONE) == text


@pytest.mark.parametrize("text", [text for text, _ in PLANTED])
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text, environment=NONE)
    assert redact(once, environment=NONE) == once


def test_all_planted_secrets_in_one_text_are_taken_out() -> None:
    clean = redact("\n\n".join(text for text, _ in reversed(PLANTED)), environment=NONE)
    assert [secret for _, secret in PLANTED if secret in clean] == []


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "DB_PASSWORD", "PGPASSWORD",
        "MYSQL_PWD", "WANDB_API_KEY", "GOOGLE_CREDENTIALS", "CLIENT_SECRET", "GITHUB_TOKEN_2", "SLACK_BOT_TOKEN",
        "registry_auth", "SENTRY_DSN", "MASTERPASSWORD", "APIKEY", "SESSION_COOKIE", "SSH_KEY", "PASSPHRASE",
    ],
)  # fmt: skip
def test_names_that_say_secret(name: str) -> None:
    assert is_secret_name(name)
    assert redact("it is plainwords here", environment={name: "plainwords"}) == f"it is {MASK} here"


@pytest.mark.parametrize(
    "name",
    [
        "PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "GPG_KEY", "KEYBOARD", "PATH", "AUTHOR", "MONKEY",
        "RAY_AUTH_MODE", "GOOGLE_APPLICATION_CREDENTIALS_FILE", "RAY_AUTH_TOKEN_PATH", "PASSENGER", "COMPASS",
    ],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)
    assert redact("it is plainwords here", environment={name: "plainwords"}) == "it is plainwords here"


def test_values_of_the_environment_go_in_every_spelling() -> None:
    value = 'p@ss/wörd "x"'
    environment = {"DB_PASSWORD": value}
    for text in (value, "p%40ss%2Fw%C3%B6rd%20%22x%22", 'p@ss/w\\u00f6rd \\"x\\"', 'p@ss/wörd \\"x\\"'):
        assert redact(f"a {text} b", environment=environment) == f"a {MASK} b"


def test_lines_of_a_key_in_the_environment_go_alone_too() -> None:
    environment = {"DEPLOY_KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END KEY-----"}
    assert redact("read MIIEvQIBADANBgkqhkiG9w0", environment=environment) == f"read {MASK}"


def test_passwords_in_urls_of_the_environment_go_alone_too() -> None:
    environment = {"DATABASE_URL": "postgres://team:hun%40ter22@db/runs", "BROKEN_URL": "http://[x@y"}
    assert redact("hun%40ter22 or hun@ter22", environment=environment) == f"{MASK} or {MASK}"


def test_short_and_plain_values_are_not_taken_for_secrets() -> None:
    environment = {"MAX_TOKENS": "1048576", "API_KEY": "x", "AUTH": "none", "USE_AUTH": "true"}
    assert secret_values(environment) == ()


def test_the_longest_value_goes_first() -> None:
    environment = {"A_TOKEN": "abcdef", "B_TOKEN": "abcdefghi"}
    assert redact("abcdefghi", environment=environment) == MASK


def test_this_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_TEST_TOKEN", "xyzzy-planted")
    assert redact("say xyzzy-planted") == f"say {MASK}"


def test_structures_are_walked() -> None:
    value = {
        "text": "password=hunter2",
        "apiKey": "plainwords",
        "env": [{"name": "HF_TOKEN", "value": "plainwords"}, {"name": "LEVEL", "value": "debug"}],
        "nested": {"list": ["Bearer abcd1234", 3, None, True]},
        "tokens": 2048,
        "path": Path("/home/hunter2="),
        "passwords": {"hunter2=": 1},
        "password": ["plain", {"k": "words"}, None],
        "credentials": {"k": {"deep": "words"}},
        "volume": {"secret": {"secretName": "hub"}},
    }
    clean = redact_value(value, environment={"X_SECRET": "hunter2="})
    assert clean == {
        "text": f"password={MASK}",
        "apiKey": MASK,
        "env": [{"name": "HF_TOKEN", "value": MASK}, {"name": "LEVEL", "value": "debug"}],
        "nested": {"list": [f"Bearer {MASK}", 3, None, True]},
        "tokens": 2048,
        "path": f"/home/{MASK}",
        "passwords": {MASK: 1},
        "password": [MASK, {"k": MASK}, None],
        "credentials": {"k": {"deep": MASK}},
        "volume": {"secret": {"secretName": "hub"}},
    }


def test_beside_an_escaped_secret_the_rest_stays() -> None:
    text = r"{\"password\": \"hunter2\", \"user\": \"team\"}"
    assert redact(text, environment=NONE) == rf"{{\"password\": \"{MASK}\", \"user\": \"team\"}}"


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a.",
        "a-",
        "key",
        "token=",
        "?a=",
        "://",
        "a:b@",
        "- ",
        "\n",
        "x ",
        "=",
        "'",
        '"',
        "\\",
        '\\"',
        r"password=\"",
        "password=[",
        "token:",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    before = time.process_time()
    redact(text, environment=NONE)
    assert time.process_time() - before < 10  # a fraction of a second; quadratic would be minutes
