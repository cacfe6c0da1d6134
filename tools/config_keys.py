"""Writes the table of transformers' config keys that the spec checks `model.config` against.

    python tools/config_keys.py            # renew platform/modelyard/spec/config_keys.json
    python tools/config_keys.py --check    # exit 1 when the file is not what the installed transformers says

transformers takes unknown keys in silence; the table lets `modelyard validate` refuse them without importing it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import types
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "platform" / "modelyard" / "spec" / "config_keys.json"
# Defaults that the rules between keys need: the sizes that must divide each other.
SIZES = ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")
WORDS = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null"}


def table() -> dict[str, Any]:
    """For each model_type with a causal language model: its keys by what they take, aliases, default sizes."""
    import transformers
    from transformers.activations import ACT2FN
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return {
        "transformers": transformers.__version__,
        "activations": sorted(name for name in ACT2FN if name is not None),
        "families": {name: _family(CONFIG_MAPPING[name]) for name in names},
        "others": sorted(set(CONFIG_MAPPING_NAMES) - set(names)),
    }


def _family(config: Any) -> dict[str, Any]:
    keys: dict[str, list[str]] = {}
    defaults: dict[str, Any] = {}
    from transformers import PreTrainedConfig

    shared = {
        field.name for field in dataclasses.fields(PreTrainedConfig)
    }  # bookkeeping, no choices of a model's shape
    canonical = {alias: key for alias, key in config.attribute_map.items() if key != alias}
    sizes = {canonical.get(size, size) for size in SIZES}
    for field in dataclasses.fields(config):
        if field.name in shared:
            continue
        keys.setdefault("|".join(sorted(set(_words(field.type)))), []).append(field.name)
        if field.name in sizes and isinstance(field.default, int | None):
            defaults[field.name] = field.default
    return {
        "keys": {words: " ".join(sorted(names)) for words, names in sorted(keys.items())},
        "aliases": dict(sorted(canonical.items())),
        "defaults": dict(sorted(defaults.items())),
    }


def _words(annotation: Any) -> Iterator[str]:
    """Which plain YAML values a field takes: int, float, bool, str, list, map, null, or any."""
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        for part in typing.get_args(annotation):
            yield from _words(part)
    elif origin is typing.Literal:
        yield from (WORDS.get(type(value), "any") for value in typing.get_args(annotation))
    elif (origin or annotation) in {list, tuple}:
        yield "list"
    elif (origin or annotation) is dict or _is_map(annotation):
        yield "map"
    else:
        yield WORDS.get(annotation, "any") if isinstance(annotation, type) else "any"


def _is_map(annotation: Any) -> bool:
    """A typed dictionary, or a config within a config."""
    return isinstance(annotation, type) and (hasattr(annotation, "keys") or annotation.__name__.endswith("Config"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    text = json.dumps(table(), indent=0, separators=(",", ":"), sort_keys=True) + "\n"
    if not wanted.check:
        FILE.write_text(text)
        return 0
    if FILE.read_text() == text:
        return 0
    print(f"{FILE} is not what the installed transformers says: run python tools/config_keys.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
