"""The routes of the API: what is asked for in vain is refused, and HEAD is answered where GET is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.errors import MAX_TOLD_PLACES
from app.api.meant import meant
from app.api.openapi import EXTRA_MODELS

EndpointT = TypeVar("EndpointT")

#: The attribute of an endpoint whose callers may add parameters of their own.
MARK = "takes_any_parameter"

MODELS = {model.__name__: model for model in EXTRA_MODELS}


def takes_any_parameter(endpoint: EndpointT) -> EndpointT:
    """Declare that an endpoint overlooks parameters that it does not know."""
    setattr(endpoint, MARK, True)
    return endpoint


class CallRoute(APIRoute):
    """A route that refuses parameters which its endpoint does not have.

    They would be ignored without a word: `POST /ingest?collection=a` would put a document elsewhere than its
    sender believes.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        methods = frozenset(self.methods or ())
        #: Not HEAD in `methods` itself: FastAPI would describe it as a call of its own, under the same name.
        self.answered = methods | {"HEAD"} if "GET" in methods else methods
        self.is_strict = not getattr(endpoint, MARK, False)
        self.parameters = frozenset(_parameters(self.dependant))
        self.body_fields = list(dict.fromkeys(_body_fields(self)))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether it is this route that is asked for."""
        match, found = super().matches(scope)
        if match is Match.PARTIAL and scope["method"] in self.answered:
            return Match.FULL, found
        return match, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            RequestValidationError: It has a parameter that is not known here.
        """
        if scope["method"] not in self.answered:
            await super().handle(scope, receive, send)  # 405.
            return
        if scope["query_string"]:
            self._require_known(scope)
        await self.respond(scope, receive, send)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is one of this route."""
        await self.app(scope, receive, send)

    def _require_known(self, scope: Scope) -> None:
        """
        Raises:
            RequestValidationError: The request has a parameter that is not known here.
        """
        if not self.is_strict:
            return
        unknown = QueryParams(scope["query_string"]).keys() - self.parameters
        if unknown:
            raise RequestValidationError(
                [
                    {"type": "parameter_unknown", "loc": ("query", name), "msg": self._refusal(name)}
                    for name in sorted(unknown)[:MAX_TOLD_PLACES]
                ]
            )

    def _refusal(self, name: str) -> str:
        if name in self.body_fields:
            return "there is no such parameter: it is a field of the body"
        if (parameter := meant(name, sorted(self.parameters))) is not None:
            return f"there is no such parameter; did you mean `{parameter}`?"
        if (field := meant(name, self.body_fields)) is not None:
            return f"there is no such parameter; did you mean `{field}`, which is a field of the body?"
        if not self.parameters:
            return "there is no such parameter: this call has none"
        known = ", ".join(f"`{parameter}`" for parameter in sorted(self.parameters))
        return f"there is no such parameter: this call has {known}"


def _parameters(dependant: Dependant) -> Iterator[str]:
    """The names of all that an endpoint, and what it depends on, take from the query."""
    for field in dependant.query_params:
        yield from _fields_of(field.field_info.annotation) or (field.alias,)
    for dependency in dependant.dependencies:
        yield from _parameters(dependency)


def _body_fields(route: APIRoute) -> Iterator[str]:
    """Likewise from the body: of the model, and of what a handler that reads it itself says of it."""
    if route.body_field is not None:
        yield from _fields_of(route.body_field.field_info.annotation)
    said = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    for media in said.values():
        schema = media["schema"]
        yield from schema.get("properties", ())
        yield from _fields_of(MODELS.get(schema.get("$ref", "").rpartition("/")[2]))


def _fields_of(model: Any) -> list[str]:
    """Their names on the wire; none of what is no model."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]
