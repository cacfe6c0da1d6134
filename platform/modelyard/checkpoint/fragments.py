"""Fragment files: flat ranges of named tensors in plain safetensors, written and read without a second copy.

Knows files and tensors; nothing of commits, ranks or DeepSpeed. Written by our own few lines rather than the
safetensors library, because that one wants all tensors of a file in one dict of contiguous host copies and tells
no digest; read by our own, because a memory map of a truncated file kills the process. Called by transfer.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import torch

from modelyard.checkpoint.ranges import Range, parse_key
from modelyard.errors import IntegrityError
from modelyard.records import FileDigest
from modelyard.yard import faults, fsync_folder

DTYPES = {
    torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_TORCH = {name: dtype for dtype, name in DTYPES.items()}
FORMAT = {"format": "modelyard-fragments", "version": "1"}
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own bound
_STAGING_BYTES = 16 << 20  # one copy between host and device; chosen by feel


@dataclass(frozen=True)
class Fragment:
    """A range and its elements: `tensor` is a live, one-dimensional view of what this process trains with."""

    range: Range
    tensor: torch.Tensor

    def part(self, low: int, high: int) -> Fragment:
        """The elements low to high of this fragment, counted from its own start."""
        name, kind, start, _ = self.range
        return Fragment(Range(name, kind, start + low, start + high), self.tensor[low:high])


def write_file(path: Path, fragments: Iterable[Fragment]) -> FileDigest:
    """One safetensors file, streamed, durable, and complete or absent; returns its size and digest.

    The digest is taken on a second thread while the bytes are written. Raises OSError; no partial file stays.
    """
    fragments = list(fragments)
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as out:
            size_bytes, sha256 = _stream(out, fragments)
            faults.point("checkpoint.fragments.written")
            out.flush()
            os.fsync(out.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
    return FileDigest(path=path.name, size_bytes=size_bytes, sha256=f"sha256:{sha256}")


def _stream(out: BinaryIO, fragments: list[Fragment]) -> tuple[int, str]:
    head, body_bytes = _header(fragments)
    digest, at, halved = hashlib.sha256(head), 0, False
    out.write(head)
    with ThreadPoolExecutor(1, "digest") as hasher:
        pending: Future[None] | None = None
        for fragment in fragments:
            data = host_bytes(fragment.tensor)
            if pending is not None:
                pending.result()  # at most one fragment waits, so at most two host copies of a device's tensors exist
            pending = hasher.submit(digest.update, data)
            out.write(data)
            at += len(data)
            if not halved and at * 2 >= body_bytes:
                halved = True
                faults.point("checkpoint.fragments.half")
    return len(head) + body_bytes, digest.hexdigest()


def _header(fragments: list[Fragment]) -> tuple[bytes, int]:
    """The file's head, padded so that the data is aligned to 8 bytes, and the size of the data."""
    entries: dict[str, Any] = {"__metadata__": FORMAT}
    at = 0
    for fragment in fragments:
        tensor, stop = fragment.tensor, at + fragment.tensor.numel() * fragment.tensor.element_size()
        entries[fragment.range.key] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": [len(tensor)],
            "data_offsets": [at, stop],
        }
        at = stop
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head, at


def host_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a one-dimensional tensor: a view of it where it lies in host memory."""
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data


class Piece(NamedTuple):
    """Where a range's bytes stand in a file."""

    range: Range
    dtype: torch.dtype
    offset: int


def read_header(path: Path) -> list[Piece]:
    """What stands in a fragment file. Raises IntegrityError unless the head describes exactly the file's bytes."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            entries = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            return list(_pieces(entries, 8 + length, size))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, FileNotFoundError) as error:
        raise IntegrityError(f"{path} is not a fragment file: {error}") from error


def _pieces(entries: dict[str, Any], base: int, size: int) -> Iterator[Piece]:
    at = base
    for key, entry in sorted(entries.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        found, dtype = parse_key(key), _TORCH[entry["dtype"]]
        low, high = entry["data_offsets"]
        if found is None or found.stop <= found.start or entry["shape"] != [found.stop - found.start]:
            raise ValueError(f"{key} names no range of shape {entry['shape']}")
        if base + low != at or high - low != (found.stop - found.start) * dtype.itemsize:
            raise ValueError(f"{key} stands at bytes {low} to {high}, which is not its place")
        yield Piece(found, dtype, at)
        at = base + high
    if at != size:
        raise ValueError(f"{size} bytes where the header tells of {at}")


@dataclass
class FragmentReader:
    """Reads any range out of a set of fragment files; only the bytes asked for are touched. A context manager."""

    paths: tuple[Path, ...]
    _files: dict[Path, BinaryIO] = field(default_factory=dict)
    _index: dict[tuple[str, str], list[tuple[Piece, Path]]] = field(default_factory=dict)
    _staging: torch.Tensor | None = None

    def __enter__(self) -> Self:
        for path in self.paths:
            for piece in read_header(path):
                self._index.setdefault((piece.range.name, piece.range.kind), []).append((piece, path))
            self._files[path] = open(path, "rb", buffering=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def ranges(self) -> Iterator[Range]:
        """Every range that the files hold."""
        for entries in self._index.values():
            yield from (piece.range for piece, _ in entries)

    def dtype(self, name: str, kind: str) -> torch.dtype:
        """The type in which a tensor's kind is stored."""
        return self._index[name, kind][0][0].dtype

    def full(self, name: str, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A whole tensor, in host memory."""
        size = math.prod(shape)
        if size == 0:
            return torch.empty(shape)
        out = torch.empty(size, dtype=self.dtype(name, kind))
        self.read(Fragment(Range(name, kind, 0, size), out))
        return out.view(shape)

    def read(self, wanted: Fragment) -> None:
        """Fill the tensor of `wanted` with its range. Raises IntegrityError when elements are missing."""
        name, kind, start, stop = wanted.range
        found = 0
        for piece, path in self._index.get((name, kind), ()):
            low, high = max(piece.range.start, start), min(piece.range.stop, stop)
            if low < high:
                out = wanted.tensor[low - start : high - start]
                if piece.dtype != out.dtype:
                    raise IntegrityError(f"{path}: {piece.range.key} is {piece.dtype}, the model's is {out.dtype}")
                self._fill(path, piece.offset + (low - piece.range.start) * piece.dtype.itemsize, out)
                found += high - low
        if found != stop - start:
            raise IntegrityError(f"{wanted.range.key}: {found} of {stop - start} elements are in the checkpoint")

    def _fill(self, path: Path, offset: int, out: torch.Tensor) -> None:
        """Bytes from `offset` straight into `out`, or by way of a small host buffer when it lies on a device."""
        if out.device.type == "cpu" and out.is_contiguous():
            self._read_exactly(path, offset, host_bytes(out))
            return
        if self._staging is None:
            self._staging = torch.empty(_STAGING_BYTES, dtype=torch.uint8)
        step = _STAGING_BYTES // out.element_size()
        for low in range(0, len(out), step):
            target = out[low : low + step]
            buffer = self._staging[: len(target) * out.element_size()]
            self._read_exactly(path, offset + low * out.element_size(), host_bytes(buffer))
            target.copy_(buffer.view(out.dtype))

    def _read_exactly(self, path: Path, offset: int, into: memoryview) -> None:
        file, at = self._files[path], 0
        while at < len(into):
            count = os.preadv(file.fileno(), [into[at:]], offset + at)
            if count == 0:
                raise IntegrityError(f"{path} ends {len(into) - at} bytes early")
            at += count
