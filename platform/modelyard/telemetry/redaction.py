"""Secrets are taken out of every text that is kept or shown: status, events, logs, evidence.

Three ways to know one: it is the value of an environment variable whose name says so; it stands in a secret's place
(user info or query of a URL, an Authorization header, `password=`); it has the form of one (keys of well-known
services, private key blocks, JWTs). Ordinary words of training (`tokens: 2048`, `bos_token`, `tokenizer`) stay.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

MASK = "[redacted]"
MIN_SECRET_LENGTH = 6  # a shorter value (`1`, `true`) would blank out ordinary words wherever it stands. By feel

_I = re.IGNORECASE
# Words that say "secret" at the end of a name, whatever the value …
_STRONG = (
    r"(?:password|passwd|passphrase|passcode|pwd|secret|credentials?|creds|"
    r"(?:auth|access|api|bearer|refresh|session|security|id|hub|hf|github|gitlab|slack|bot|user|admin|service)[-_.]?token|"
    r"(?:api|access|account|secret|private|signing|encryption|master|shared|storage|ssh|aws|openai|wandb)[-_.]?key"
    r"(?:[-_.]?base)?)"
)
# … and those that do only when the value looks random, because they have ordinary meanings too.
_WEAK = r"(?:token|[-_.]key|auth|cookie|signature|sig|session[-_.]?id|dsn|connection[-_.]?string)"
_SPECIAL_TOKEN = re.compile(
    r"(?:bos|eos|pad|unk|sep|cls|mask|image|audio|special|added|extra|stop|next|prev)[-_.]?token$", _I
)

_ENVIRONMENT = re.compile(
    r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE|CODE)?|PWD|SECRETS?|TOKENS?|CREDENTIALS?|CREDS?|AUTH|COOKIE|API_?KEYS?|KEYS?|DSN|"
    r"CONNECTION_?STRING|SIGNATURE)(?:_|\d*$)|(?:PASSWORD|PASSWD|SECRET|TOKEN|APIKEY|CREDENTIALS?)\d*$",
    _I,
)
_NOT_SECRET = re.compile(
    r"_(?:SOCK|PATH|FILE|DIR|HOME|TYPE|MODE|NAME|TTL|TIMEOUT|PARALLELISM)$|^(?:OLD)?PWD$|^GPG_KEY$", _I
)

_FORMS = re.compile(
    "|".join(
        (
            r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}\b",  # AWS key ids
            r"\bgh[pousr]_[A-Za-z0-9]{20,}",  # GitHub
            r"\bgithub_pat_[A-Za-z0-9_]{20,}",
            r"\bglpat-[A-Za-z0-9_\-]{16,}",  # GitLab
            r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}",  # Hugging Face
            r"\bsk-[A-Za-z0-9_\-]{16,}",  # OpenAI, Anthropic, OpenRouter
            r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
            r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9\-]{10,}",  # Slack
            r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]+",
            r"\bAIza[A-Za-z0-9_\-]{35}",  # Google
            r"\bya29\.[A-Za-z0-9_\-.]{20,}",
            r"\bnpm_[A-Za-z0-9]{30,}",
            r"\bpypi-[A-Za-z0-9_\-]{30,}",
            r"\bdckr_pat_[A-Za-z0-9_\-]{20,}",  # Docker
            r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}",  # SendGrid
            r"\bnvapi-[A-Za-z0-9_\-]{20,}",  # NVIDIA
            r"\bhv[sb]\.[A-Za-z0-9_\-]{20,}",  # Vault
            r"\bdop_v1_[a-f0-9]{40,}",  # DigitalOcean
            r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?",  # JWT
        )
    )
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_USER_INFO = re.compile(  # registry://name@alias and hf://name@revision name versions
    r"(?P<keep>\b(?!(?:registry|hf)://[^\s/:@]*@)[A-Za-z][A-Za-z0-9+.\-]{0,30}://)[^\s/?#\"'<>]{1,4096}@"
)
_USER_FLAG = re.compile(r"(?P<keep>(?<!\S)(?:-u|--user)[ =]+)[^\s:]+:[^\s\"']+")  # curl -u name:password
_QUERY = re.compile(
    rf"(?P<keep>[?&;](?:[\w.\-]*[-_.])?(?:{_STRONG}|{_WEAK}|key|token|credential|sas|code|assertion)=)[^\s&;#\"'<>]+",
    _I,
)
_SCHEME = re.compile(r"(?P<keep>\b(?:Bearer|Basic|ApiKey)[ \t]+)(?=\S*[\d=]|\S{20})[A-Za-z0-9._~+/=\-]{6,}", _I)
_HEADER = re.compile(r"(?P<keep>\bAuthorization[\"']?\s*[:=]\s*[\"']?)[^\s\"',;][^\"',;\r\n]*", _I)
_VALUE = (  # in escaped quotes (JSON within JSON), in quotes, a variable, or one word
    r"(?P<quote>(?:(?P<escape>\\{1,8})?[\"'])?)(?P<value>"
    r"(?<=\\[\"'])(?:(?!(?<!\\)(?:(?P=escape)[\"']|\"))[^\n])+|"
    r"(?<=[^\\]\")(?:[^\"\\\n]|\\.)+|(?<=[^\\]')(?:[^'\\\n]|\\.)+|"
    r"\$\{\w+\}|(?:[^\s\"',;&|<>()\[\]{}\\]|\\(?!\\{0,8}[\"']))+)"
)
_NAME = rf"(?P<name>(?<![\w.\-])[\w.\-]*?(?:{_STRONG}|{_WEAK}))"
_SIGN = r"(?P<sign>\d*(?:\\{0,8}[\"'])?[ \t]*(?:=>|[:=])[ \t]*)"
_ASSIGNED = re.compile(_NAME + _SIGN + _VALUE, _I)
_HELD = re.compile(rf"{_NAME}{_SIGN}(?P<open>[\[{{])(?!redacted\])[^\[\]{{}}\n]+", _I)  # password: [a, b], {{a: b}}
_FLAG = re.compile(
    rf"(?P<keep>(?<!\S)--?[\w.\-]*(?:{_STRONG}|token)[ \t]+)(?!-)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"']{{4,}})", _I
)
_BLOCK = re.compile(  # a YAML block scalar: password: | and the lines indented below it
    rf"(?P<keep>^(?P<indent>[ \t]*)(?:- )?[\w.\-\"']*?{_STRONG}[\"']?:[ \t]*[|>][^\n]*\n)"
    r"(?:(?P=indent)[ \t]+[^\n]*(?:\n|\Z))+",
    _I | re.MULTILINE,
)
_NAMED = re.compile(  # a Kubernetes EnvVar: name: HF_TOKEN, value: …
    rf"(?P<name>\bname[\"']?\s*[:=]\s*[\"']?(?P<variable>[A-Za-z_]\w*)[\"']?)(?P<sign>[\s,]+[\"']?value[\"']?\s*[:=]\s*){_VALUE}"
)
_PLAIN_VALUE = re.compile(
    r"(?:true|false|null|none|yes|no|nan|-?inf|[-+]?[\d.]+(?:e[-+]?\d+)?|\$\{?\w+\}?|\*+|\[redacted\])$", _I
)


def redact(text: str, *, environment: Mapping[str, str] | None = None) -> str:
    """`text` with every secret in it replaced by `[redacted]`; `environment` is this process's unless given."""
    for secret in secret_values(environment):
        text = text.replace(secret, MASK)
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _FORMS.sub(MASK, text)
    for pattern in (_USER_INFO, _USER_FLAG, _QUERY, _HEADER, _SCHEME, _FLAG, _BLOCK):
        text = pattern.sub(_mask_rest, text)
    for pattern in (_ASSIGNED, _NAMED):
        text = pattern.sub(_mask_value, text)
    return _HELD.sub(_mask_held, text)


def redact_value(value: Any, *, environment: Mapping[str, str] | None = None) -> Any:
    """The same for plain JSON values; strings under a key that says "secret", however deep, go whole."""
    return _walked(value, environment, holder="")


def secret_values(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Values of environment variables that look secret, in each spelling in which they may turn up; longest first."""
    found: set[str] = set()
    for name, value in (os.environ if environment is None else environment).items():
        for secret in _secrets_of(name, value):
            if len(secret) >= MIN_SECRET_LENGTH:
                found |= {
                    secret,
                    quote(secret, safe=""),
                    json.dumps(secret)[1:-1],
                    json.dumps(secret, ensure_ascii=False)[1:-1],
                }
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of that name holds a secret, by its name."""
    return bool(_ENVIRONMENT.search(name)) and not _NOT_SECRET.search(name)


def _walked(value: Any, environment: Mapping[str, str] | None, *, holder: str) -> Any:
    """`holder` is the nearest name around the value that says that it is secret."""
    if isinstance(value, str):
        return MASK if value and holder and _says_secret(holder, value) else redact(value, environment=environment)
    if isinstance(value, Mapping):
        return {
            redact(str(key), environment=environment): _walked(
                item, environment, holder=_holder(_name_of(value, str(key)), item) or holder
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walked(item, environment, holder=holder) for item in value]
    return (
        value if value is None or isinstance(value, bool | int | float) else redact(str(value), environment=environment)
    )


def _holder(name: str, value: object) -> str:
    """The name, if it says that a value, or all that it holds, is secret."""
    says = _says_secret(name, value) if isinstance(value, str) else _holds_secrets(name, value)
    return name if says else ""


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if is_secret_name(name) and (not _PLAIN_VALUE.match(value) or _is_numeric_password(name, value)):
        yield value.strip()
        lines = value.split("\n")
        if len(lines) > 1:  # a key block that is printed line by line
            yield from (line.strip() for line in lines if len(line.strip()) >= 16)
    if "://" in value and "@" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            return
        if password:
            yield password
            yield unquote(password)


def _mask_rest(match: re.Match[str]) -> str:
    end = {_USER_INFO: "@", _BLOCK: "\n"}.get(match.re, "")
    indent = match["indent"] + "  " if match.re is _BLOCK else ""
    return f"{match['keep']}{indent}{MASK}{end}"


def _mask_value(match: re.Match[str]) -> str:
    name = match.groupdict().get("variable") or match["name"]
    secret = is_secret_name(name) if match.re is _NAMED else _says_secret(name, match["value"])
    if not secret or match["value"].startswith(MASK[:-1]):
        return match[0]
    return f"{match['name']}{match['sign']}{match['quote']}{MASK}"


def _mask_held(match: re.Match[str]) -> str:
    if not _holds_secrets(match["name"], {} if match["open"] == "{" else []):
        return match[0]
    return f"{match['name']}{match['sign']}{match['open']}{MASK}"


_ENDS_STRONG = re.compile(rf"{_STRONG}\d*$", _I)
_ENDS_WEAK = re.compile(rf"(?:{_WEAK}|^key)\d*$", _I)


def _says_secret(name: str, value: str) -> bool:
    """Whether a value under that name is a secret: by the name alone, or by the name and a random look."""
    if _SPECIAL_TOKEN.search(name) or _PLAIN_VALUE.match(value):
        return _is_numeric_password(name, value)
    if _ENDS_STRONG.search(name):
        return True
    return bool(_ENDS_WEAK.search(name)) and _looks_random(value)


def _holds_secrets(name: str, value: object) -> bool:
    """Whether all that a list or mapping of that name holds is secret; Kubernetes' `secret: {…}` names a Secret."""
    reference = isinstance(value, Mapping) and name.lower() == "secret"
    return bool(_ENDS_STRONG.search(name)) and not _SPECIAL_TOKEN.search(name) and not reference


def _is_numeric_password(name: str, value: str) -> bool:
    """Numbers are counts (MAX_TOKENS=4096), unless the name says password."""
    return value.isdigit() and bool(re.search(r"pass(?:word|wd|phrase|code)?|pwd|secret", name, _I))


def _looks_random(value: str) -> bool:
    return len(value) >= 8 and bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))


def _name_of(mapping: Mapping[str, Any], key: str) -> str:
    """The name that says what a value is: for a Kubernetes EnvVar, its `name`."""
    return str(mapping["name"]) if key == "value" and isinstance(mapping.get("name"), str) else key
