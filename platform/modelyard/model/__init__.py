"""Specs to torch modules, and Hugging Face folders in and out. The only room that names transformers (with infer)."""

from modelyard.model.building import build, count_parameters, random_module
from modelyard.model.cards import model_card
from modelyard.model.configs import TokenizerFacts, derive_config
from modelyard.model.folders import DTYPES, empty_module, load_folder, read_config, save_folder
from modelyard.model.heads import plain_head
from modelyard.model.packing import check_packing, forward_inputs, takes_positions

__all__ = [
    "DTYPES",
    "TokenizerFacts",
    "build",
    "check_packing",
    "count_parameters",
    "derive_config",
    "empty_module",
    "forward_inputs",
    "load_folder",
    "model_card",
    "plain_head",
    "random_module",
    "read_config",
    "save_folder",
    "takes_positions",
]
