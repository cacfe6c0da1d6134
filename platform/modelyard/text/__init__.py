"""Text and token ids: tokenizer folders (trained here or brought along), chat templates, streaming decoding.

Knows no shards and no models. Called by data, train, infer, evaluate and serve.
"""

from modelyard.text.stream import StreamDecoder
from modelyard.text.tokenizer import TOKENIZER_FILES, Tokenizer, open_tokenizer
from modelyard.text.training import END_OF_TEXT, train_tokenizer

__all__ = ["END_OF_TEXT", "TOKENIZER_FILES", "StreamDecoder", "Tokenizer", "open_tokenizer", "train_tokenizer"]
