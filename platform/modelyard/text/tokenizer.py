"""A tokenizer folder, opened: ids from text and back, the special tokens' ids, the digest, the chat template.

A folder is what transformers saves: `tokenizer.json` with `tokenizer_config.json` beside it. Nothing is ever
executed from it, and text is only text: `encode` never turns a literal `<|endoftext|>` in a document or a
prompt into the special token unless it is told to (`specials=True`, for what a chat template writes).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.text import chat

# What belongs to a tokenizer in a model folder; the digest covers those that exist, `save` copies them.
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
)  # fmt: skip
# Longer texts are encoded in pieces: an Encoding holds about 100 bytes a token, so 1 Mi characters stay below 100 MB.
PIECE_CHARACTERS = 1 << 20


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """An opened tokenizer folder. `bos_id` and `pad_id` fall back to `eos_id` when the folder names none.

    `vocab_size` is one more than the highest id. Safe to share between threads.
    """

    folder: Path
    backend: tokenizers.Tokenizer = field(repr=False)
    literal: tokenizers.Tokenizer = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    vocab_size: int
    bos_id: int
    eos_id: int
    pad_id: int
    digest: str
    chat_template: str | None = field(repr=False)
    byte_level: bool
    special_ids: frozenset[int] = field(repr=False)

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Ids of `text`; no special token is added, and none is recognised in the text unless `specials`."""
        return self.encode_batch([text], specials=specials)[0]

    def encode_batch(self, texts: Sequence[str], *, specials: bool = False) -> list[list[int]]:
        """Ids of each text. With a byte-level tokenizer, texts beyond 1 Mi characters are encoded in pieces cut at
        line ends (lossless; a token never spans a cut)."""
        return [
            self.encode_long(text, specials=specials).tolist() if self._is_long(text) else ids
            for text, ids in zip(texts, self._encode_short(texts, specials), strict=True)
        ]

    def encode_long(self, text: str, *, specials: bool = False) -> npt.NDArray[np.uint32]:
        """As `encode`, for texts of any size: 4 bytes a token, and never more than one piece in work."""
        backend = self.backend if specials else self.literal
        parts = pieces(text) if self.byte_level else iter([text])
        encoded = (backend.encode_batch_fast([part], add_special_tokens=False)[0].ids for part in parts)
        return np.concatenate([np.asarray(ids, dtype=np.uint32) for ids in encoded])

    def _encode_short(self, texts: Sequence[str], specials: bool) -> list[list[int]]:
        backend = self.backend if specials else self.literal
        short = ["" if self._is_long(text) else text for text in texts]
        return [encoding.ids for encoding in backend.encode_batch_fast(short, add_special_tokens=False)]

    def _is_long(self, text: str) -> bool:
        return self.byte_level and len(text) > PIECE_CHARACTERS

    def decode(self, ids: Sequence[int], *, specials: bool = False) -> str:
        """Text of `ids`; special tokens are left out unless `specials`. Broken bytes become U+FFFD."""
        return self.backend.decode(list(ids), skip_special_tokens=not specials)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token alone (special tokens: their name; an unknown id: none)."""
        name = self.backend.id_to_token(token_id)
        if name is None:
            return b""
        if self.byte_level:
            return byte_level_bytes(name)
        return name.encode() if token_id in self.special_ids else self.decode([token_id]).encode()

    @cached_property
    def special_tokens(self) -> dict[str, str]:
        """bos_token, eos_token, pad_token as text, for chat templates."""
        named = {"bos_token": self.bos_id, "eos_token": self.eos_id, "pad_token": self.pad_id}
        return {key: self.backend.id_to_token(token_id) or "" for key, token_id in named.items()}

    def render_chat(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:
        """The prompt text of a conversation by the folder's own template, in Jinja's immutable sandbox.

        Raises InvalidInputError when there is no template, or when the template refuses the messages.
        """
        if self.chat_template is None:
            raise InvalidInputError(
                f"the tokenizer in {self.folder} has no chat template",
                hint="use plain completions, or a model whose tokenizer_config.json has a chat_template",
            )
        return chat.render(self.chat_template, messages, add_generation_prompt, self.special_tokens)

    def encode_chat(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> list[int]:
        """Ids of the rendered conversation: special tokens where the template writes them, none where a message does.

        Raises what `render_chat` raises.
        """
        names = [name for token_id in sorted(self.special_ids) if (name := self.backend.id_to_token(token_id))]
        hidden, special_of = chat.hide_specials(messages, names, template=self.chat_template or "")
        text = self.render_chat(hidden, add_generation_prompt)
        parts = re.split(f"([{''.join(special_of)}])", text) if special_of else [text]
        encoded = [self.encode(special_of.get(part, part), specials=part not in special_of) for part in parts if part]
        return [token_id for ids in encoded for token_id in ids]

    def save(self, folder: Path) -> None:
        """Copy the tokenizer's files, byte for byte, into `folder` (made if missing)."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in TOKENIZER_FILES:
            if (self.folder / name).is_file() and self.folder.resolve() != folder.resolve():
                shutil.copyfile(self.folder / name, folder / name)


def open_tokenizer(folder: Path) -> Tokenizer:
    """Open a tokenizer folder.

    Raises NotFoundError when there is no `tokenizer.json`, InvalidInputError when it cannot be read or has no
    end-of-text token.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFoundError(
            f"{folder} has no tokenizer.json",
            hint="only fast tokenizers are read: save it once with transformers' save_pretrained of the fast class",
        )
    text = path.read_text(encoding="utf-8", errors="strict")
    try:
        backend, literal = (tokenizers.Tokenizer.from_str(text) for _ in range(2))
    except Exception as error:  # the Rust side raises bare Exception
        raise InvalidInputError(f"{path} is no tokenizer that tokenizers reads: {error}") from error
    for each in (backend, literal):
        each.no_truncation()
        each.no_padding()
    literal.encode_special_tokens = True
    config = {**_json(folder / "special_tokens_map.json"), **_json(folder / "tokenizer_config.json")}
    ids = {name: _special_id(backend, config, name) for name in ("bos", "eos", "pad", "cls", "sep")}
    eos = _first(ids["eos"], ids["sep"])
    if eos is None:
        raise InvalidInputError(
            f"the tokenizer in {folder} names no end-of-text token", hint="set eos_token in its tokenizer_config.json"
        )
    added = backend.get_added_tokens_decoder()
    return Tokenizer(
        folder=folder,
        backend=backend,
        literal=literal,
        config=config,
        vocab_size=max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1,
        bos_id=_first(ids["bos"], ids["cls"], eos) or 0,
        eos_id=eos,
        pad_id=_first(ids["pad"], eos) or 0,
        digest=folder_digest(folder),
        chat_template=chat.find_template(folder, config),
        byte_level=_is_byte_level(json.loads(text)),
        special_ids=frozenset(token_id for token_id, token in added.items() if token.special),
    )


def folder_digest(folder: Path) -> str:
    """sha256 over names and contents of the tokenizer's files that exist in `folder`."""
    digest = hashlib.sha256(b"modelyard tokenizer 1\n")
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            digest.update(f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def pieces(text: str, limit: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a long text after the last line end within each `limit` characters, else after a space, else anywhere."""
    start = 0
    while len(text) - start > limit:
        cut = text.rfind("\n", start, start + limit) + 1 or text.rfind(" ", start, start + limit) or start + limit
        cut = cut if cut > start else start + limit
        yield text[start:cut]
        start = cut
    yield text[start:]


def byte_level_bytes(token: str) -> bytes:
    """The bytes behind a byte-level token's printable spelling; a name that is none (a special token) as UTF-8."""
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return token.encode()


def _byte_of_character() -> dict[str, int]:
    # GPT-2's table: printable Latin-1 stands for itself, the other bytes for U+0100 onwards, in order.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_of_character()


def _is_byte_level(document: Mapping[str, Any]) -> bool:
    decoder = document.get("decoder") or {}
    if decoder.get("type") == "Sequence" and len(decoder.get("decoders", ())) == 1:
        decoder = decoder["decoders"][0]
    return bool(decoder.get("type") == "ByteLevel")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"{path} is not a JSON object")
    return document


def _special_id(backend: tokenizers.Tokenizer, config: Mapping[str, Any], name: str) -> int | None:
    token = config.get(f"{name}_token")
    if isinstance(token, Mapping):  # transformers writes an AddedToken as an object
        token = token.get("content")
    return backend.token_to_id(token) if isinstance(token, str) else None


def _first(*ids: int | None) -> int | None:
    return next((token_id for token_id in ids if token_id is not None), None)
