"""The head of a causal model apart from its body: where that is exact, a loss need never hold all logits at once."""

from __future__ import annotations

import inspect

import torch
from torch.nn import functional


def plain_head(module: torch.nn.Module) -> torch.nn.Linear | None:
    """The output layer, when the logits are exactly its linear map of the last hidden states; None otherwise.

    Some families cap or scale logits behind it (Gemma 2, Cohere, Granite). That is tried on a row of two tokens, bit
    for bit, not looked up by name.
    """
    head = module.get_output_embeddings()  # type: ignore[operator]
    if not isinstance(head, torch.nn.Linear) or "logits_to_keep" not in inspect.signature(module.forward).parameters:
        return None
    ids = torch.tensor([[0, 1]], device=head.weight.device)
    training = module.training
    module.eval()
    with torch.no_grad():
        output = module(input_ids=ids, output_hidden_states=True, use_cache=False)
        plain = functional.linear(output.hidden_states[-1], head.weight, head.bias)
    module.train(training)
    return head if torch.equal(plain, output.logits) else None
