"""YAML and JSON text → plain values, each with the line and column where it stands.

Works on the parser's events, so that duplicate keys, tags and ambiguous scalars are seen before they are lost.
Everything is bounded: size, depth and what aliases expand to. Nothing here knows a manifest's fields.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from modelyard.errors import Fault
from modelyard.spec.scalars import Ambiguous, read_plain

Location = tuple[str | int, ...]
LARGEST_BYTES = 1 << 20  # etcd takes no larger object, so no manifest is larger
DEEPEST = 64  # chosen by feel: a manifest has about ten levels
MOST_NODES = 200_000  # values in a file, aliases expanded


class Unreadable:
    """Stands where a value was refused already, so that no second fault is told about it."""

    def __repr__(self) -> str:
        return "<unreadable>"


UNREADABLE = Unreadable()


@dataclass(frozen=True)
class Mark:
    """A place in a text; both count from 1. `origin` is a file, `<stdin>` or an override."""

    origin: str
    line: int
    column: int


@dataclass
class Document:
    """One document of a text: its values and where each stands. `faults` are those of the writing itself."""

    origin: str
    value: Any = None
    start: Mark = Mark("", 0, 0)
    values: dict[Location, Mark] = field(default_factory=dict)
    keys: dict[Location, Mark] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def mark(self, location: Location, *, key: bool = False) -> Mark:
        """Where a value (or its key) stands; for what is missing, the nearest thing around it."""
        marks = (self.keys, self.values) if key else (self.values, self.keys)
        for length in range(len(location), 0, -1):
            for known in marks:
                if location[:length] in known:
                    return known[location[:length]]
        return self.start

    def fault(self, location: Location, message: str, fix: str = "", *, key: bool = False) -> Fault:
        """A fault at a place of this document."""
        mark = self.mark(location, key=key)
        return Fault(mark.origin, path_text(location), mark.line, mark.column, message, fix)


def path_text(location: Location) -> str:
    """`("spec", "data", "train", 0, "path")` → `spec.data.train[0].path`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) <= 64 and part.replace("_", "").replace("-", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part[:64], ensure_ascii=False)}]"
    return text or "(document)"


class _Reader:
    """Walks the events of one text."""

    def __init__(self, text: str, origin: str) -> None:
        self.origin = origin
        self.events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self.document = Document(origin)
        self.anchors: dict[str, Any] = {}
        self.nodes = 0

    def documents(self) -> Iterator[Document]:
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                self.document = Document(self.origin)
                self.anchors = {}
                first = next(self.events)
                self.document.start = self._mark(first)
                self.document.value = self._node(first, ())
                yield self.document

    def _mark(self, event: Any) -> Mark:
        return Mark(self.origin, event.start_mark.line + 1, event.start_mark.column + 1)

    def _refuse(self, event: Any, location: Location, message: str, fix: str) -> Unreadable:
        mark = self._mark(event)
        self.document.faults.append(Fault(self.origin, path_text(location), mark.line, mark.column, message, fix))
        return UNREADABLE

    def _node(self, event: Any, location: Location) -> Any:
        if not _is_empty(event):  # what is not there has no place of its own: its key's is told
            self.document.values.setdefault(location, self._mark(event))
        self._count(1)
        if len(location) > DEEPEST:
            raise TooLargeError(f"is nested deeper than {DEEPEST} levels", self._mark(event))
        if isinstance(event, AliasEvent):
            return self._alias(event, location)
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, location)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(location)
        else:
            value = self._mapping(location)
        if event.tag is not None and not isinstance(event, ScalarEvent):
            self._refuse(event, location, f"has the tag {event.tag}", "leave the tag out")
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def _count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise TooLargeError(f"holds more than {MOST_NODES} values (aliases expanded)", Mark(self.origin, 0, 0))

    def _alias(self, event: Any, location: Location) -> Any:
        if event.anchor not in self.anchors:
            return self._refuse(event, location, f"*{event.anchor} has no anchor before it", "write the value out")
        value = self.anchors[event.anchor]
        self._count(_size(value))
        return copy.deepcopy(value)

    def _scalar(self, event: Any, location: Location) -> Any:
        if event.tag is not None and event.tag != "!":
            return self._refuse(
                event, location, f"has the tag {event.tag}", "write the value plainly, or in quotes for text"
            )
        if not event.implicit[0]:  # quoted or a block
            return _joined(event.value)
        value = read_plain(event.value)
        if isinstance(value, Ambiguous):
            return self._refuse(event, location, f"{event.value[:64]} {value.why}", value.fix)
        return value

    def _sequence(self, location: Location) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self._node(event, (*location, len(items))))
        return items

    def _mapping(self, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self._key(event, location)
            place = (*location, key or "?")
            if key is None:
                self._node(next(self.events), place)
                continue
            if key in values:
                first = self.document.keys[place]
                self._refuse(event, place, f"is written twice; the first is on line {first.line}", "keep one of them")
                self._node(next(self.events), (*location, f"{key} (again)"))
                continue
            self.document.keys[place] = self._mark(event)
            values[key] = UNREADABLE  # so that a value cannot see itself through an alias
            values[key] = self._node(next(self.events), place)
            if key == "<<":
                self._refuse(event, place, "merge keys are not read", "write the fields out")
                del values[key]
        return values

    def _key(self, event: Any, location: Location) -> str | None:
        if isinstance(event, ScalarEvent):
            return _joined(str(event.value))
        self._refuse(event, location, "a key must be a plain word", "write `name: value`")
        if isinstance(event, SequenceStartEvent):
            self._sequence((*location, "?"))
        elif isinstance(event, MappingStartEvent):
            self._mapping((*location, "?"))
        return None


def _is_empty(event: Any) -> bool:
    return isinstance(event, ScalarEvent) and event.implicit[0] and event.value == ""


class TooLargeError(Exception):
    """A text beyond what is read at all."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.mark = mark


def read_documents(text: str, *, origin: str) -> tuple[list[Document], list[Fault]]:
    """All documents up to the first fault of syntax, and that fault; empty documents are left out."""
    documents: list[Document] = []
    try:
        documents.extend(document for document in _Reader(text, origin).documents() if document.value is not None)
    except MarkedYAMLError as error:
        return documents, [_syntax_fault(error, origin)]
    except TooLargeError as error:
        return documents, [
            Fault(origin, "(document)", error.mark.line, error.mark.column, str(error), "make it smaller")
        ]
    except (YAMLError, RecursionError, ValueError, OverflowError) as error:
        return documents, [Fault(origin, "(document)", *_place_of(error, text), f"is not YAML: {_first_line(error)}")]
    return documents, []


def _syntax_fault(error: MarkedYAMLError, origin: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    problem = " ".join(str(part) for part in (error.context, error.problem) if part)
    hint = "indent with spaces, not tabs" if "\\t" in problem else "mend the YAML here or on the line above"
    return Fault(origin, "(document)", line, column, f"is not YAML: {problem}", hint)


def _place_of(error: Exception, text: str) -> tuple[int, int]:
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return 0, 0
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _first_line(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]


def _joined(text: str) -> str:
    """JSON writes a character beyond the basic plane as two escapes: put them together."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1
