"""Files in, documents out: text and JSON lines, plain or compressed, a bounded piece in memory at a time.

A record that cannot be a document becomes a BadRecord with file, line and reason, never an exception and never
silence. A file whose loss cannot be counted (a truncated or corrupt archive) is an error.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modelyard.data.sources import FoundFile, find_files
from modelyard.errors import BadDataError

if TYPE_CHECKING:
    from modelyard.spec import SourceSpec

MAX_RECORD_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
# zstd gives back all that one call's input expands to, at most 128 KiB for 4 bytes (a run-length block): 1 KiB of
# input stays below 32 MiB.
ZSTD_INPUT_BYTES = 1 << 10
ZSTD_WINDOW_BYTES = 128 << 20
# Text compresses 3 to 20 times; gzip cannot exceed 1032. Beyond both bounds an archive is taken for a bomb.
MAX_EXPANSION = 400
EXPANSION_FREE_BYTES = 256 << 20
EXCERPT_CHARACTERS = 60
BOM = b"\xef\xbb\xbf"

REASONS = {
    "broken_json": "the line is not JSON",
    "not_an_object": "the line is JSON but no object",
    "missing_text": "the object lacks the text column",
    "not_text": "the text column holds no string",
    "empty_text": "the text is empty or only white space",
    "no_tokens": "the tokenizer makes nothing of the text",
    "invalid_utf8": "the bytes are not UTF-8",
    "lone_surrogate": "an escape \\ud800 to \\udfff stands alone: no character",
    "nul_byte": "a NUL byte: binary data or UTF-16",
    "too_long": "longer than maxRecordBytes",
    "empty_file": "the file holds no record",
}
# Excluded and listed, but nobody's fault: they do not count against maxBadFraction.
HARMLESS = frozenset({"empty_text", "no_tokens"})


@dataclass(frozen=True, slots=True)
class Document:
    """One text and where it came from; `line` counts from 1."""

    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no document. `reason` is a key of REASONS; `excerpt` at most 60 characters."""

    file: str
    line: int
    reason: str
    excerpt: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason} ({REASONS[self.reason]})"


class Line(NamedTuple):
    """A line without its end; `data` is None when it is longer than the limit."""

    number: int
    data: bytes | None


def read_documents(
    source: SourceSpec, *, root: Path, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Document | BadRecord]:
    """All records of a source in order: files by name, each from its beginning.

    Raises what `find_files` and `read_file` raise.
    """
    for file in find_files(source, root=root):
        yield from read_file(file, text_column=source.columns.text, max_record_bytes=max_record_bytes)


def read_file(
    file: FoundFile,
    *,
    text_column: str = "text",
    max_record_bytes: int = MAX_RECORD_BYTES,
    on_raw: Callable[[bytes], object] = lambda chunk: None,
) -> Iterator[Document | BadRecord]:
    """The records of one file; format text: the whole file is one document, JSONL: each line that is not blank.

    `on_raw` sees every chunk of bytes as read from disk. Peak memory is a small multiple of `max_record_bytes`.
    Raises BadDataError when the file cannot be read, or is a truncated, corrupt or bomb-like archive.
    """
    chunks = _decompressed(_raw_chunks(file, on_raw), file)
    if file.format == "text":
        yield _whole(chunks, file.name, max_record_bytes)
        return
    records = 0
    for line in _lines(chunks, max_record_bytes):
        if line.data is None:
            records += 1
            yield BadRecord(file.name, line.number, "too_long")
        elif line.data and not line.data.isspace():
            records += 1
            yield _from_json(line.data, text_column, file.name, line.number)
    if not records:
        yield BadRecord(file.name, 1, "empty_file")


def _whole(chunks: Iterable[bytes], name: str, limit: int) -> Document | BadRecord:
    kept, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size <= limit:
            kept.append(chunk)
        else:
            kept.clear()  # and read on: the digest of the file covers all of it
    if size > limit:
        return BadRecord(name, 1, "too_long")
    if not size:
        return BadRecord(name, 1, "empty_file")
    data = b"".join(kept).removeprefix(BOM)
    nul = data.find(b"\0")
    if nul >= 0:
        return BadRecord(name, data.count(b"\n", 0, nul) + 1, "nul_byte")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadRecord(name, data.count(b"\n", 0, error.start) + 1, "invalid_utf8", _bytes_excerpt(data, error.start))
    return Document(text, name, 1) if text.strip() else BadRecord(name, 1, "empty_text")


def _from_json(data: bytes, column: str, name: str, number: int) -> Document | BadRecord:
    try:
        line = data.removeprefix(BOM if number == 1 else b"").decode("utf-8")
    except UnicodeDecodeError as error:
        return BadRecord(name, number, "invalid_utf8", _bytes_excerpt(data, error.start))
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return BadRecord(name, number, "broken_json", _excerpt(line, error.pos))
    except (ValueError, RecursionError):  # a number of 5000 digits, lists nested 2000 deep
        return BadRecord(name, number, "broken_json", _excerpt(line, 0))
    if not isinstance(record, dict):
        return BadRecord(name, number, "not_an_object", _excerpt(line, 0))
    return _from_object(record, column, name, number)


def _from_object(record: dict[str, object], column: str, name: str, number: int) -> Document | BadRecord:
    if column not in record:
        return BadRecord(name, number, "missing_text", _excerpt(f"has {', '.join(record)}", 0))
    text = record[column]
    if not isinstance(text, str):
        return BadRecord(name, number, "not_text", type(text).__name__)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return BadRecord(name, number, "lone_surrogate")
    return Document(text, name, number) if text.strip() else BadRecord(name, number, "empty_text")


def _excerpt(text: str, at: int) -> str:
    return text[max(at - EXCERPT_CHARACTERS // 2, 0) :][:EXCERPT_CHARACTERS]


def _bytes_excerpt(data: bytes, at: int) -> str:
    return f"byte 0x{data[at]:02x} after {data[max(at - 20, 0) : at].decode('utf-8', errors='replace')!r}"


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[Line]:
    """Lines of at most `limit` bytes; what is longer is passed over without being kept."""
    number, size = 1, 0
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        size += len(first)
        if size <= limit:
            pending.append(first)
        else:
            pending.clear()
        for part in rest:
            yield Line(number, b"".join(pending) if size <= limit else None)
            number, size = number + 1, len(part)
            pending = [part] if size <= limit else []
    if size:
        yield Line(number, b"".join(pending) if size <= limit else None)


def _raw_chunks(file: FoundFile, on_raw: Callable[[bytes], object]) -> Iterator[bytes]:
    try:
        with file.path.open("rb", buffering=0) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                on_raw(chunk)
                yield chunk
    except OSError as error:
        raise BadDataError(f"{file.name} cannot be read: {error.strerror or error}") from error


def _decompressed(raw: Iterator[bytes], file: FoundFile) -> Iterator[bytes]:
    if not file.compression:
        yield from raw
        return
    expanded = 0
    for chunk in (_gunzip if file.compression == "gzip" else _unzstd)(raw, file.name):
        expanded += len(chunk)
        if expanded > max(EXPANSION_FREE_BYTES, MAX_EXPANSION * file.size_bytes):
            raise BadDataError(
                f"{file.name} expands to more than {MAX_EXPANSION} times its size: it looks like a decompression bomb",
                hint="decompress it yourself and name the plain file, if it is meant",
            )
        yield chunk


def _gunzip(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Any number of gzip members; zero padding after the last is allowed, as gzip does."""
    decoder = zlib.decompressobj(wbits=31)
    fresh = True  # nothing of the current member was seen
    for chunk in raw:
        data = chunk
        while data:
            if decoder.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                decoder, fresh = zlib.decompressobj(wbits=31), True
            fresh = False
            try:
                text = decoder.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise BadDataError(f"{name} is no sound gzip file: {error}", hint="fetch or pack it again") from error
            if text:
                yield text
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if not fresh and not decoder.eof:
        while text := decoder.decompress(b"", CHUNK_BYTES):
            yield text
        raise BadDataError(f"{name} is truncated: its gzip stream has no end", hint="fetch or pack it again")


def _unzstd(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Any number of zstd frames."""
    import zstandard

    factory = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    decoder = factory.decompressobj()
    fresh = True
    for chunk in raw:
        for start in range(0, len(chunk), ZSTD_INPUT_BYTES):
            data = chunk[start : start + ZSTD_INPUT_BYTES]
            while data:
                if decoder.eof:
                    decoder = factory.decompressobj()
                fresh = False
                try:
                    text = decoder.decompress(data)
                except zstandard.ZstdError as error:
                    message = f"{name} is no sound zstd file: {error}"
                    raise BadDataError(message, hint="fetch or pack it again") from error
                if text:
                    yield text
                data = decoder.unused_data if decoder.eof else b""
    if not fresh and not decoder.eof:
        raise BadDataError(f"{name} is truncated: its zstd frame has no end", hint="fetch or pack it again")
