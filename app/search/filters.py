"""Conditions on documents, as SQL: which documents a search, or a list, is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.models.sql import escaped

#: The fields of a document that conditions may name, as SQL over `documents AS d`.
COLUMNS = {
    "collection": "d.collection",
    "document_id": "d.id",
    "external_id": "d.external_id",
    "media_type": "d.media_type",
    "source": "(d.cited ->> 'source_name')",
    "title": "(d.cited ->> 'title')",
    "created_at": "d.created_at",
    "completed_at": "d.completed_at",
}
_CASTS = {"document_id": "uuid", "created_at": "timestamptz", "completed_at": "timestamptz"}
_METADATA = "(d.cited -> 'metadata')"
_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """`field` is a name of COLUMNS, or a path into the metadata; `value` is what JSON gave."""

    field: str | tuple[str, ...]
    operator: str  # eq, ne, in, nin, gt, gte, lt, lte, exists, contains, prefix
    value: Any


@dataclass(frozen=True, slots=True)
class All:
    """Each of them holds."""

    parts: Sequence[Filter]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of them holds."""

    parts: Sequence[Filter]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold; what a document does not say does not hold."""

    part: Filter


Filter = Condition | All | AnyOf | Not


@dataclass(slots=True)
class SQL:
    """A statement in the making: `value` adds a parameter and gives its place."""

    values: list[Any] = field(default_factory=list)

    def value(self, value: Any, cast: str) -> str:
        """`$n::cast`."""
        self.values.append(value)
        return f"${len(self.values)}::{cast}"

    def where(self, part: Filter) -> str:
        """The filter as an expression over `documents AS d`; what a document does not say makes it NULL.

        Which is as good as false, except under NOT; a COALESCE elsewhere would hide it from the indexes.
        """
        match part:
            case All(parts):
                return _joined(" AND ", [self.where(each) for each in parts], "TRUE")
            case AnyOf(parts):
                return _joined(" OR ", [self.where(each) for each in parts], "FALSE")
            case Not(negated):
                return f"NOT COALESCE({self.where(negated)}, FALSE)"
            case Condition(operator="ne"):
                return self.where(Not(Condition(part.field, "eq", part.value)))
            case Condition(operator="nin"):
                return self.where(Not(Condition(part.field, "in", part.value)))
            case Condition(field=str()):
                return self._column(part)
            case Condition():
                return self._metadata(part)

    def _column(self, condition: Condition) -> str:
        assert isinstance(condition.field, str)
        column, cast = COLUMNS[condition.field], _CASTS.get(condition.field, "text")
        operator, value = condition.operator, condition.value
        if operator == "eq":
            return f"{column} = {self.value(value, cast)}"
        if operator == "in":
            return f"{column} = ANY({self.value(list(value), cast + '[]')})"
        if operator in _COMPARISONS:
            return f"{column} {_COMPARISONS[operator]} {self.value(value, cast)}"
        if operator == "exists":
            return f"({column} IS NOT NULL) = {self.value(value, 'boolean')}"
        if operator == "prefix":
            return f"{column} LIKE {self.value(escaped(value) + '%', 'text')}"
        if operator == "contains":
            return f"position({self.value(value, 'text')} in {column}) > 0"
        raise ValueError(f"{condition.field} knows no {operator}")

    def _metadata(self, condition: Condition) -> str:
        path, operator, value = condition.field, condition.operator, condition.value
        if operator == "in":
            # One by one, so that each is looked up in the index.
            each = [self._metadata(Condition(path, "eq", one)) for one in value]
            return _joined(" OR ", each, "FALSE")
        place = f"({_METADATA} #> {self.value(list(path), 'text[]')})"
        if operator == "eq":
            return f"({self._holds(path, value)} AND {place} = {self.value(json.dumps(value), 'jsonb')})"
        if operator in _COMPARISONS:
            other = self.value(json.dumps(value), "jsonb")
            is_comparable = f"jsonb_typeof({place}) = jsonb_typeof({other})"
            return f"({is_comparable} AND {place} {_COMPARISONS[operator]} {other})"
        if operator == "exists":
            return f"({place} IS NOT NULL) = {self.value(value, 'boolean')}"
        text = f"({place} #>> '{{}}')"
        is_text = f"jsonb_typeof({place}) = 'string'"
        if operator == "prefix":
            return f"({is_text} AND {text} LIKE {self.value(escaped(value) + '%', 'text')})"
        if operator == "contains":
            is_member = f"(jsonb_typeof({place}) = 'array' AND {self._holds(path, [value])})"
            if not isinstance(value, str):
                return is_member
            return f"({is_member} OR ({is_text} AND position({self.value(value, 'text')} in {text}) > 0))"
        raise ValueError(f"metadata knows no {operator}")

    def _holds(self, path: Sequence[str], value: Any) -> str:
        """What the index on metadata answers."""
        for key in reversed(path):
            value = {key: value}
        return f"{_METADATA} @> {self.value(json.dumps(value), 'jsonb')}"


def _joined(operator: str, parts: Sequence[str], empty: str) -> str:
    return f"({operator.join(parts)})" if parts else empty
