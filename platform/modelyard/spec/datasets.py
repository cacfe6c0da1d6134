"""What is read: sources, validation, preparation and how documents become rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from modelyard.spec.parts import Listed, Name, Path, Share, ShortText, SpecPart

_COLUMN = "Name of the column that holds the {}."


class ColumnsSpec(SpecPart):
    """Which field of a record holds what; only those of the objective may be set."""

    text: Annotated[ShortText, Field(description=_COLUMN.format("text"))] = "text"
    text_pair: Annotated[ShortText | None, Field(description=_COLUMN.format("second text"))] = None
    label: Annotated[ShortText | None, Field(description=_COLUMN.format("label"))] = None
    tokens: Annotated[ShortText | None, Field(description=_COLUMN.format("list of tokens"))] = None
    tags: Annotated[ShortText | None, Field(description=_COLUMN.format("list of tags"))] = None
    question: Annotated[ShortText | None, Field(description=_COLUMN.format("question"))] = None
    context: Annotated[ShortText | None, Field(description=_COLUMN.format("context"))] = None
    answers: Annotated[ShortText | None, Field(description=_COLUMN.format("answers"))] = None
    source: Annotated[ShortText | None, Field(description=_COLUMN.format("source text"))] = None
    target: Annotated[ShortText | None, Field(description=_COLUMN.format("target text"))] = None
    messages: Annotated[ShortText | None, Field(description=_COLUMN.format("list of messages"))] = None
    prompt: Annotated[ShortText | None, Field(description=_COLUMN.format("prompt"))] = None
    chosen: Annotated[ShortText | None, Field(description=_COLUMN.format("preferred answer"))] = None
    rejected: Annotated[ShortText | None, Field(description=_COLUMN.format("rejected answer"))] = None


class SourceSpec(SpecPart):
    """A named set of files."""

    name: Annotated[Name, Field(description="Name of the source; counts and digests are told by it.")]
    path: Annotated[
        Path,
        Field(
            description="A file, a folder or a glob (`**` crosses folders), from the storage root; `.gz` and `.zst` "
            "are unpacked."
        ),
    ]
    format: Annotated[
        Literal["text", "jsonl"] | None,
        Field(
            description="`text`: a file is a document; `jsonl`: a line is a record. Left out: told by each file's "
            "ending."
        ),
    ] = None
    passes: Annotated[
        float,
        Field(
            gt=0.0, le=1000.0, description="How often this source is read per epoch; 0.5 takes half of its documents."
        ),
    ] = 1.0
    columns: Annotated[ColumnsSpec, Field(description="Which field of a record holds what.")] = ColumnsSpec()


class ValidationSpec(SpecPart):
    """Documents that are never trained on: at most one of `sources` and `fraction`."""

    sources: Annotated[Listed[SourceSpec], Field(max_length=1000, description="Sources of their own.")] = ()
    fraction: Annotated[
        float | None, Field(gt=0.0, lt=1.0, description="A share of the training documents, chosen by their digest.")
    ] = None


class PrepareStepSpec(SpecPart):
    """One step of preparation."""

    step: Annotated[ShortText, Field(description="Which step, as `nearDuplicates`.")]
    options: Annotated[dict[str, Any], Field(description="Its options.", max_length=64)] = {}


class DataSpec(SpecPart):
    """The documents and how they become rows of tokens."""

    train: Annotated[
        Listed[SourceSpec], Field(min_length=1, max_length=1000, description="Sources to train on, at least one.")
    ]
    validation: Annotated[ValidationSpec, Field(description="Documents that are never trained on.")] = ValidationSpec()
    prepare: Annotated[
        Listed[PrepareStepSpec], Field(max_length=100, description="Steps of preparation, in order.")
    ] = ()
    max_bad_fraction: Annotated[
        Share, Field(description="Share of malformed records that is tolerated; each is reported with file and line.")
    ] = 0.001
    max_record_bytes: Annotated[
        int, Field(ge=1, le=2**31, description="A record longer than this many bytes is a malformed one.")
    ] = 67_108_864
    sequence_length: Annotated[int, Field(ge=2, le=2**22, description="Positions per row, in tokens.")] = 512
    packing: Annotated[
        bool,
        Field(
            description="Pack several documents into a row, without attention across them; otherwise one document a "
            "row, padded."
        ),
    ] = True
