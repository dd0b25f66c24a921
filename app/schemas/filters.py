"""Filters as they come over the wire: JSON objects, checked as far as they can be without looking."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from app.schemas.ingest import StorableText, storable
from app.schemas.moment import Moment
from app.search import filters

MAX_DEPTH = 8
MAX_CONDITIONS = 100

TEXTS = ("collection", "external_id", "media_type", "source", "title")
TIMES = ("created_at", "completed_at")


#: Larger ones are in no metadata worth comparing, and some have more digits than PostgreSQL takes.
LARGEST = 1e300


def scalar(value: Any) -> Any:
    """A value that JSON writes without brackets."""
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, int | float):
        raise ValueError("must be a text, a number, true, false or null")  # noqa: TRY004 - As below.
    return ordered(value)


def ordered(value: Any) -> Any:
    """A value that can be less than another: a number, or a text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a text or a number")  # noqa: TRY004 - pydantic wants this one.
    if not -LARGEST < value < LARGEST:
        raise ValueError(f"must be a number between -{LARGEST:g} and {LARGEST:g}")
    return value


Scalar = Annotated[
    Any, AfterValidator(scalar), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
Ordered = Annotated[Any, AfterValidator(ordered), WithJsonSchema({"type": ["string", "number"]})]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AllOf(_Part):
    """Each of them holds."""

    all_: list[FilterPart] = Field(alias="and", min_length=1, max_length=MAX_CONDITIONS)

    def filter(self) -> filters.Filter:
        return filters.All([part.filter() for part in self.all_])


class OneOf(_Part):
    """One of them holds."""

    any_: list[FilterPart] = Field(alias="or", min_length=1, max_length=MAX_CONDITIONS)

    def filter(self) -> filters.Filter:
        return filters.AnyOf([part.filter() for part in self.any_])


class Negated(_Part):
    """It does not hold."""

    not_: FilterPart = Field(alias="not")

    def filter(self) -> filters.Filter:
        return filters.Not(self.not_.filter())


class _Condition(_Part):
    """`field`, and one or more operators, all of which have to hold."""

    field: str

    @model_validator(mode="after")
    def _has_an_operator(self) -> Self:
        if not self.operators():
            raise ValueError("give an operator: " + ", ".join(_name(key) for key in self._keys()))
        return self

    @classmethod
    def _keys(cls) -> list[str]:
        return [key for key in cls.model_fields if key != "field"]

    def operators(self) -> dict[str, Any]:
        """What was asked for, by the operators' names; null is a value like any other."""
        return {_name(key): getattr(self, key) for key in self._keys() if key in self.model_fields_set}

    def filter(self) -> filters.Filter:
        conditions = [
            filters.Condition(self._place(), operator, value) for operator, value in self.operators().items()
        ]
        return conditions[0] if len(conditions) == 1 else filters.All(conditions)

    def _place(self) -> str | tuple[str, ...]:
        return self.field


def _name(key: str) -> str:
    return key.rstrip("_")


class TextCondition(_Condition):
    """On a text that every document may have."""

    field: Literal["collection", "external_id", "media_type", "source", "title"]
    eq: StorableText = ""
    ne: StorableText = ""
    in_: list[StorableText] = Field(default=[], alias="in", max_length=1000)
    nin: list[StorableText] = Field(default=[], max_length=1000)
    prefix: StorableText = ""
    contains: StorableText = ""
    exists: bool = True


class IdCondition(_Condition):
    """On the document itself."""

    field: Literal["document_id"]
    eq: UUID | None = None
    ne: UUID | None = None
    in_: list[UUID] = Field(default=[], alias="in", max_length=1000)
    nin: list[UUID] = Field(default=[], max_length=1000)


class TimeCondition(_Condition):
    """On when it came, or was done. A date alone is its beginning, and a time without a zone is UTC."""

    field: Literal["created_at", "completed_at"]
    gt: Moment | None = None
    gte: Moment | None = None
    lt: Moment | None = None
    lte: Moment | None = None


class MetadataCondition(_Condition):
    """On what its sender said: `metadata.season`, and `metadata.author.name` for what is inside an object.

    Numbers are compared with numbers and texts with texts. `contains` is a member of a list, or a part of a
    text. What a document does not say is not equal to anything.
    """

    field: StorableText = Field(pattern=r"^metadata\.[^.]+(\.[^.]+)*$", max_length=1000)
    eq: Scalar = None
    ne: Scalar = None
    in_: list[Scalar] = Field(default=[], alias="in", max_length=1000)
    nin: list[Scalar] = Field(default=[], max_length=1000)
    gt: Ordered = 0
    gte: Ordered = 0
    lt: Ordered = 0
    lte: Ordered = 0
    exists: bool = True
    contains: Scalar = None
    prefix: StorableText = ""

    def _place(self) -> tuple[str, ...]:
        return tuple(self.field.split(".")[1:])


def _kind(value: Any) -> str | None:
    """Which of the models below it is. In brackets: what stands in them is left out of pointers to errors."""
    if not isinstance(value, dict):
        return None
    for key in ("and", "or", "not"):
        if key in value:
            return f"<{key}>"
    field = value.get("field")
    if field in TEXTS:
        return "<text>"
    if field in TIMES:
        return "<time>"
    if field == "document_id":
        return "<id>"
    return "<metadata>" if isinstance(field, str) and field.startswith("metadata.") else None


FilterPart = Annotated[
    Annotated[AllOf, Tag("<and>")]
    | Annotated[OneOf, Tag("<or>")]
    | Annotated[Negated, Tag("<not>")]
    | Annotated[TextCondition, Tag("<text>")]
    | Annotated[IdCondition, Tag("<id>")]
    | Annotated[TimeCondition, Tag("<time>")]
    | Annotated[MetadataCondition, Tag("<metadata>")],
    Discriminator(
        _kind,
        custom_error_type="filter_unknown",
        custom_error_message=(
            'a filter is {"and": […]}, {"or": […]}, {"not": …} or {"field": …, and an operator}; fields are '
            + ", ".join([*TEXTS, "document_id", *TIMES])
            + " and metadata.…"
        ),
    ),
]


def checked(part: FilterPart) -> FilterPart:
    """The filter, if it is not too large for one statement."""
    if _depth(part) > MAX_DEPTH:
        raise ValueError(f"must be at most {MAX_DEPTH} levels deep")
    if _size(part) > MAX_CONDITIONS:
        raise ValueError(f"must have at most {MAX_CONDITIONS} conditions")
    return part


def _inside(part: FilterPart) -> list[FilterPart]:
    if isinstance(part, AllOf):
        return part.all_
    if isinstance(part, OneOf):
        return part.any_
    return [part.not_] if isinstance(part, Negated) else []


def _depth(part: FilterPart) -> int:
    return 1 + max((_depth(each) for each in _inside(part)), default=0)


def _size(part: FilterPart) -> int:
    return sum(_size(each) for each in _inside(part)) or (
        len(part.operators()) if isinstance(part, _Condition) else 1
    )


for _model in (AllOf, OneOf, Negated):
    _model.model_rebuild()
