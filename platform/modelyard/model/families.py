"""From a transformers model_type to its config and model class, importing that family's own module only.

Importing all of transformers' auto classes costs seconds at every worker start. Remote code is never run.
"""

from __future__ import annotations

import difflib
from typing import Any

from modelyard.errors import InvalidInputError


def config_class(model_type: str) -> Any:
    """The config class of `model_type`. InvalidInputError names near types when there is none."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise InvalidInputError(f"transformers knows no model_type {model_type!r}{_near(model_type, CONFIG_MAPPING)}")
    return CONFIG_MAPPING[model_type]


def causal_lm_class(config: Any) -> Any:
    """The causal language model class of a config object."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError:
        model_type = config.model_type
        near = _near(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        raise InvalidInputError(
            f"model_type {model_type!r} has no causal language model in transformers{near}",
            hint="choose a model_type with a …ForCausalLM class, such as llama, gpt2 or qwen3",
        ) from None


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"; near it: {', '.join(near)}" if near else ""
