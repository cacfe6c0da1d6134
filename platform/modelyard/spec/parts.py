"""What all parts of a manifest share: frozen, camelCase outside, unknown fields refused, no silent conversions.

Only types live here; rules between fields are in `rules`, defaults that depend on other fields in `defaults`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, WithJsonSchema
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
JOB_NAME_PATTERN = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
QUANTITY_PATTERN = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?"
REFERENCE_PATTERN = r"\S(.*\S)?"

T = TypeVar("T")
Listed = Annotated[tuple[T, ...], Strict(False)]
"""A list in YAML, a tuple here: strict types would refuse the list."""


class SpecPart(BaseModel):
    """A frozen piece of a manifest; the same class is the YAML, the custom resource's spec and the Python API."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=True,
        allow_inf_nan=False,
    )


def _quantity_text(value: Any) -> Any:
    """A whole number is a quantity too (`cpu: 1`), as int-or-string in Kubernetes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _full(pattern: str, longest: int) -> StringConstraints:
    return StringConstraints(pattern=f"^{pattern}$", max_length=longest)


Name = Annotated[str, _full(NAME_PATTERN, 63)]
JobName = Annotated[str, _full(JOB_NAME_PATTERN, 63)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Reference = Annotated[str, _full(REFERENCE_PATTERN, 1024)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    _full(QUANTITY_PATTERN, 32),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}),
]
# Upper bounds are far above anything sensible; they catch a slipped zero or a wrong unit before an overflow does.
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000_000)]
Tokens = Annotated[int, Field(ge=1, le=10**15)]
Seconds = Annotated[int, Field(ge=1, le=10**9)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1e12)]
NonNegative = Annotated[float, Field(ge=0.0, le=1e12)]

NAME = re.compile(NAME_PATTERN)
