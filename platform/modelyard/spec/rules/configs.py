"""Rules of `model.config`: transformers takes unknown keys in silence, we do not.

Against a table generated from the pinned transformers (tools/config_keys.py), so that nothing heavy is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from modelyard.spec.documents import Location
from modelyard.spec.rules.objections import Objection
from modelyard.spec.wording import listing, nearest, shown

_POSITIONS = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_target_positions",
)  # fmt: skip
DERIVED = {
    "vocab_size": "is derived from the tokenizer; set model.tokenizer",
    "dtype": "is derived; set optimization.precision",
    "torch_dtype": "is derived; set optimization.precision",
    "model_type": "is named by model.architecture",
    "architectures": "is derived from model.architecture and the objective",
    **dict.fromkeys(_POSITIONS, "is derived; set data.sequenceLength"),
}
_POSITIVE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
ACTIVATIONS = ("hidden_act", "activation_function", "hidden_activation", "activation")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "str": (str,), "list": (list, tuple), "map": (dict,),
    "null": (type(None),),
}  # fmt: skip
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list",
          "map": "a mapping", "null": "null", "any": "anything"}  # fmt: skip


class Family(NamedTuple):
    """A model_type: what each key takes, other names of keys, and the sizes left out keys have."""

    takes: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    defaults: Mapping[str, int | None]


@cache
def _table() -> Any:
    return json.loads(files("modelyard.spec").joinpath("config_keys.json").read_text())


def families() -> list[str]:
    """Every model_type that has a causal language model."""
    return list(_table()["families"])


@cache
def family(architecture: str) -> Family | None:
    """What the pinned transformers knows of a model_type; None when it has no causal language model of it."""
    entry = _table()["families"].get(architecture)
    if entry is None:
        return None
    takes = {name: tuple(words.split("|")) for words, names in entry["keys"].items() for name in names.split()}
    return Family(takes, entry["aliases"], entry["defaults"])


def check_config(architecture: str, config: Mapping[str, Any], place: Location) -> Iterator[Objection]:
    """Objections to `model.architecture` and to the keys and values of `model.config`; `place` is the model's."""
    known = family(architecture)
    if known is None:
        yield _unknown_architecture(architecture, (*place, "architecture"))
        return
    here = (*place, "config")
    plain: dict[str, Any] = {}
    found = [said for key, value in config.items() for said in _check_key(key, value, known, here, plain)]
    yield from found
    if found:
        return  # a misspelt size would be taken for one that is left out
    sizes = {known.aliases.get(name, name): name for name in _POSITIVE}
    for key, value in plain.items():
        if key in sizes and isinstance(value, int) and value < 1:
            yield Objection((*here, key), f"is {value}, must be at least 1", "write a positive number")
            return
    yield from _check_heads(config, plain, known, here)


def _unknown_architecture(architecture: str, place: Location) -> Objection:
    table = _table()
    near = nearest(architecture, list(table["families"]))
    fix = f"did you mean {near}?" if near else "llama, qwen3, gpt2 and mistral are some that have"
    if architecture in table["others"]:
        return Objection(
            place, f"transformers {table['transformers']} has no causal language model of {architecture}", fix
        )
    return Objection(place, f"transformers {table['transformers']} knows no model_type {shown(architecture)}", fix)


def _check_key(key: str, value: Any, known: Family, place: Location, plain: dict[str, Any]) -> Iterator[Objection]:
    """One key; its value is put into `plain` under the family's own name for it."""
    here = (*place, key)
    if key in DERIVED or _is_special_token(key):
        yield Objection(
            here, DERIVED.get(key, "is derived from the tokenizer; set model.tokenizer"), "take it out", True
        )
        return
    name = known.aliases.get(key, key)
    if name not in known.takes:
        near = nearest(key, [*known.takes, *known.aliases])
        fix = f"did you mean {near}?" if near else f"known: {listing(_choices(known))}"
        yield Objection(here, "is not a key of this architecture's transformers config", fix, True)
        return
    if name in plain:
        yield Objection(here, f"means the same as {name}, which is set too", "keep one of them", True)
        return
    words = known.takes[name]
    if name in ACTIVATIONS and isinstance(value, str) and value not in _table()["activations"]:
        near = nearest(value, _table()["activations"])
        fix = f"did you mean {near}?" if near else f"known: {listing(_table()['activations'])}"
        yield Objection(here, f"is {shown(value)}, which is no activation of transformers", fix)
    elif _fits(value, words):
        plain[name] = value
    else:
        expected = " or ".join(_WORDS[word] for word in words)
        yield Objection(here, f"is {shown(value)}, must be {expected}", "as transformers' configuration class has it")


def _choices(known: Family) -> list[str]:
    """The keys that may be written."""
    return sorted(key for key in known.takes if key not in DERIVED and not _is_special_token(key))


def _is_special_token(key: str) -> bool:
    return key.endswith(("_token_id", "_token_ids"))


def _fits(value: Any, words: tuple[str, ...]) -> bool:
    if "any" in words:
        return True
    if isinstance(value, bool):
        return "bool" in words
    return isinstance(value, tuple(kind for word in words if word != "bool" for kind in _TYPES[word]))


def _check_heads(
    config: Mapping[str, Any], plain: Mapping[str, Any], known: Family, place: Location
) -> Iterator[Objection]:
    """Heads divide the width, key-value heads divide the heads, rotary positions need an even head."""

    def size(name: str) -> int | None:
        key = known.aliases.get(name, name)
        value = plain.get(key, known.defaults.get(key))
        return value if isinstance(value, int) and value > 0 else None

    def at(*names: str) -> Location:
        """The first of these that the manifest has, else the config itself."""
        spelled = [key for name in names for key in (name, known.aliases.get(name, name))]
        written = [key for key in spelled if key in config]
        return (*place, written[0]) if written else place

    def told(name: str) -> str:
        key = known.aliases.get(name, name)
        return f"{key} {size(name)}" + ("" if key in plain else " (transformers' default)")

    width, heads, pairs, depth = (
        size("hidden_size"),
        size("num_attention_heads"),
        size("num_key_value_heads"),
        size("head_dim"),
    )
    if width and heads and not depth:
        if width % heads:
            yield Objection(
                at("num_attention_heads", "hidden_size"),
                f"{told('num_attention_heads')} does not divide {told('hidden_size')}",
                f"write a divisor of {width}, as {_divisor_near(width, heads)}",
            )
        elif (width // heads) % 2 and "rope_parameters" in known.takes:
            yield Objection(
                at("num_attention_heads", "hidden_size"),
                f"a head is {width // heads} wide; rotary positions need an even width",
                f"{told('hidden_size')} / {told('num_attention_heads')} must be even",
            )
    if heads and pairs and heads % pairs:
        yield Objection(
            at("num_key_value_heads", "num_attention_heads"),
            f"{told('num_key_value_heads')} does not divide {told('num_attention_heads')}",
            f"add num_key_value_heads: {heads}, or a divisor of it",
        )


def _divisor_near(width: int, heads: int) -> int:
    return min((n for n in range(1, width + 1) if width % n == 0), key=lambda n: abs(n - heads)) if width < 10**6 else 1
