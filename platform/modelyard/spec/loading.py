"""Text → manifests: read, override, fit, check. All faults of all documents are told in one ManifestError."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelyard.errors import Fault, ManifestError
from modelyard.spec.documents import LARGEST_BYTES, Document, read_documents
from modelyard.spec.manifests import API_VERSION, KINDS, Manifest
from modelyard.spec.overrides import apply_overrides, read_overrides
from modelyard.spec.parts import SpecPart
from modelyard.spec.rules import objections
from modelyard.spec.structure import fit
from modelyard.spec.wording import nearest, shown

SUFFIXES = (".yaml", ".yml", ".json")


def load(
    paths: Sequence[str | Path], *, overrides: Sequence[str] = (), stdin: Callable[[], bytes] | None = None
) -> list[Manifest]:
    """Manifests of files, folders (their *.yaml, *.yml, *.json by name) and `-` (standard input), in that order.

    Raises ManifestError with every fault of every document.
    """
    documents: list[Document] = []
    faults: list[Fault] = []
    for path in paths:
        for origin, data in _texts(str(path), stdin, faults):
            found, broken = _decode(data, origin)
            documents += found
            faults += broken
    return _finish(documents, faults, overrides, ", ".join(map(str, paths)) or "(no file)")


def parse(text: str, *, origin: str, overrides: Sequence[str] = ()) -> list[Manifest]:
    """Manifests of a text of YAML or JSON; `origin` names it in faults. Raises ManifestError with every fault."""
    documents, faults = read_documents(text, origin=origin)
    return _finish(documents, faults, overrides, origin)


def from_dict(value: dict[str, Any], *, origin: str = "(Python)") -> Manifest:
    """The manifest that plain values describe, checked as a file is. Raises ManifestError with every fault."""
    return _finish([Document(origin, value)], [], (), origin)[0]


def check(manifest: Manifest) -> None:
    """Check a manifest built in Python as a file is checked. Raises ManifestError with every fault."""
    from modelyard.spec.writing import to_dict

    from_dict(to_dict(manifest, defaults=False))


def _finish(documents: list[Document], faults: list[Fault], overrides: Sequence[str], origin: str) -> list[Manifest]:
    if not documents and not faults:
        faults = [Fault(origin, "(document)", 0, 0, "holds no manifest", "write one: modelyard init makes a start")]
    wanted, broken = read_overrides(overrides)
    faults = [*faults, *broken, *apply_overrides(documents, wanted, KINDS)]
    manifests: list[Manifest] = []
    for document in documents:
        manifest, found = _manifest(document)
        faults += found
        manifests += [] if manifest is None else [manifest]
    if faults:
        raise ManifestError(sorted(dict.fromkeys(faults), key=_file_order(documents)))
    return manifests


def _file_order(documents: list[Document]) -> Callable[[Fault], tuple[int, int, int]]:
    """By file in the order given, then by place; faults of overrides come last."""
    origins = list(dict.fromkeys(document.origin for document in documents))

    def place(fault: Fault) -> tuple[int, int, int]:
        file = origins.index(fault.origin) if fault.origin in origins else len(origins)
        return file, fault.line, fault.column

    return place


def _manifest(document: Document) -> tuple[Manifest | None, list[Fault]]:
    kind, faults = _kind(document)
    if kind is None:
        return None, [*document.faults, *faults]
    fitting = fit(document, kind)
    spec = getattr(fitting.part, "spec", None)
    said = objections(kind.__name__, spec, document.value, partial=not fitting.whole)
    faults = [
        *document.faults,
        *faults,
        *fitting.faults,
        *(document.fault(*words[:3], key=words.key) for words in said),
    ]
    manifest: Any = fitting.part
    return (None if faults else manifest), faults


def _kind(document: Document) -> tuple[type[SpecPart] | None, list[Fault]]:
    value = document.value
    if not isinstance(value, dict):
        return None, [document.fault((), f"is {shown(value)}, not a mapping", "begin with apiVersion: and kind:")]
    kind = value.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        missing = document.fault(("apiVersion",), "is missing", f"add apiVersion: {API_VERSION}")
        return KINDS[kind], [] if "apiVersion" in value else [missing]
    if kind is None:
        return None, [document.fault(("kind",), "is missing", f"add kind: one of {', '.join(KINDS)}")]
    near = nearest(kind, KINDS) if isinstance(kind, str) else None
    fix = f"did you mean {near}?" if near else f"Modelyard reads kinds of {API_VERSION} only"
    return None, [document.fault(("kind",), f"is {shown(kind)}, must be one of {', '.join(KINDS)}", fix)]


def _texts(path: str, stdin: Callable[[], bytes] | None, faults: list[Fault]) -> list[tuple[str, bytes]]:
    if path == "-":
        read = stdin or (lambda: sys.stdin.buffer.read(LARGEST_BYTES + 1))
        return [("<stdin>", read())]
    place = Path(path)
    files = [place]
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            faults.append(Fault(path, "(folder)", 0, 0, f"holds no {', '.join(SUFFIXES)} file", "name a file"))
    texts = []
    for file in files:
        try:
            with file.open("rb") as opened:
                texts.append((str(file), opened.read(LARGEST_BYTES + 1)))
        except OSError as error:
            faults.append(
                Fault(str(file), "(file)", 0, 0, f"cannot be read: {error.strerror}", "name a file that exists")
            )
    return texts


def _decode(data: bytes, origin: str) -> tuple[list[Document], list[Fault]]:
    if len(data) > LARGEST_BYTES:
        message = f"is larger than {LARGEST_BYTES} bytes, so it is no manifest"
        return [], [Fault(origin, "(file)", 0, 0, message, "name the manifest, not its data")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        return [], [Fault(origin, "(file)", line, column, "is not UTF-8 text", "save it as UTF-8")]
    return read_documents(text, origin=origin)
