"""The model card: README.md of an exported folder, with the front matter that Hugging Face's tools read."""

from __future__ import annotations

from collections.abc import Mapping

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [modelyard, {model_type}]
---
# {name}

A causal language model ({model_type}, {parameters:,} parameters), trained with Modelyard.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("<this folder>")
tokenizer = AutoTokenizer.from_pretrained("<this folder>")
```

| | |
| --- | --- |
{rows}
"""


def model_card(name: str, *, model_type: str, parameters: int, facts: Mapping[str, str | int | float]) -> str:
    """Markdown for a folder's README.md; `facts` become a table, in order."""
    rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in facts.items())
    return CARD.format(name=name, model_type=model_type, parameters=parameters, rows=rows)


def _cell(value: str | int | float) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
