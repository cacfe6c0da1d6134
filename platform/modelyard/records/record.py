"""What every record shares: frozen, camelCase on disk, a schema number, one way in and one way out."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.errors import IntegrityError, NewerLayoutError


class Part(BaseModel):
    """A frozen piece of a record: snake_case in Python, camelCase in JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="strings"
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values under camelCase keys; fields that are unset (None) are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Record(Part):
    """A document that the yard keeps. `schema` says which reader understands it."""

    SCHEMA: ClassVar[int] = 1

    def to_json(self) -> bytes:
        """UTF-8 JSON, sorted keys, one trailing newline: the same record is the same bytes."""
        document = {"schema": self.SCHEMA, **self.to_dict()}
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes | str, *, origin: str) -> Self:
        """Read a record back; `origin` names the file in errors.

        Raises NewerLayoutError for a later schema, IntegrityError for anything that is not such a record.
        """
        try:
            document = json.loads(text)
            schema = document.pop("schema")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            unread = isinstance(error, ValueError | RecursionError)
            why = f"it is no JSON: {error}" if unread else "it has no schema"
            raise IntegrityError(f"{origin} is damaged, no {cls.__name__}: {why}") from error
        if not isinstance(schema, int) or schema > cls.SCHEMA:
            raise NewerLayoutError(
                f"{origin} has schema {schema}; this Modelyard reads up to {cls.SCHEMA}",
                hint="use the Modelyard that wrote it, or a newer one",
            )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise IntegrityError(f"{origin} is not a {cls.__name__}: {where}: {first['msg']}") from error
