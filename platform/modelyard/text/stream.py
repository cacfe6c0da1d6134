"""Token ids in, whole characters out: decoding while a model writes.

Joined, what comes out equals decoding all ids at once, or what they add to the text of those they come `after`. A
character whose bytes are spread over tokens is held back until it is whole; bytes that never become one come out as
U+FFFD, the rest of them at `flush`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from modelyard.text.tokenizer import Tokenizer, byte_level_bytes

REPLACEMENT = "\ufffd"
# SentencePiece's byte fallback: a run of these is decoded as one, so it is held until the run ends.
FALLBACK_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Tokens of context that decide how the next ones are joined (leading spaces, `##`); a few would do.
CONTEXT_TOKENS = 4


class StreamDecoder:
    """One per stream of ids. Special tokens are left out unless `specials`.

    `after`: the tokens that the stream goes on from. The first word of a text has no space before it in a tokenizer
    that writes spaces as part of words (SentencePiece), a later one has; after a special token a new text begins.
    """

    def __init__(self, tokenizer: Tokenizer, *, specials: bool = False, after: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._specials = specials
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._context = self._neighbour(after)
        self._pending: list[int] = []

    def push(self, token_id: int) -> str:
        """The text that became whole with this token; often empty inside a multi-byte character."""
        name = self._tokenizer.backend.id_to_token(token_id)
        if name is None or self._is_left_out(token_id):
            return ""
        if self._tokenizer.byte_level:
            return self._bytes.decode(byte_level_bytes(name))
        self._pending.append(token_id)
        text = self._pending_text()
        if FALLBACK_BYTE.fullmatch(name) or text is None or text.endswith(REPLACEMENT):
            return ""
        self._context = (self._context + self._pending)[-CONTEXT_TOKENS:]
        self._pending = []
        return text

    def flush(self) -> str:
        """What was held back; afterwards the decoder is as new."""
        text = self._bytes.decode(b"", final=True) if self._tokenizer.byte_level else self._pending_text() or ""
        self._bytes.reset()
        self._context, self._pending = [], []
        return text

    def _is_left_out(self, token_id: int) -> bool:
        return not self._specials and token_id in self._tokenizer.special_ids

    def _neighbour(self, tokens: Sequence[int]) -> list[int]:
        """The last token that is no byte of a character: bytes would be decoded as one run with the stream's own."""
        for token_id in reversed(tokens):
            name = self._tokenizer.backend.id_to_token(token_id)
            if self._is_left_out(token_id):
                break
            if name is not None and not FALLBACK_BYTE.fullmatch(name):
                return [token_id]
        return []

    def _pending_text(self) -> str | None:
        """Text of the pending ids after their context; None while the context itself would read differently."""
        before = self._tokenizer.decode(self._context, specials=True)
        both = self._tokenizer.decode(self._context + self._pending, specials=True)
        return both[len(before) :] if both.startswith(before) else None
