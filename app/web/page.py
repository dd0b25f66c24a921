"""How a page is made: templates, headers, and what is shown when something is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import asyncpg
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ValidationError
from starlette.staticfiles import StaticFiles
from tortoise.exceptions import BaseORMException

from app import __version__
from app.api.call_route import CallRoute, takes_any_parameter
from app.api.dependencies import access_of
from app.api.errors import RETRY_AFTER_S, invalid_request, status_of
from app.api.rights import reads_within_reach
from app.core import wording
from app.core.database import BROKEN, database_error
from app.errors import Forbidden, InvalidRequest, ServiceError
from app.models.reach import Reach
from app.web import words

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

#: Scripts, styles, images and connections of our own and nothing else; no form leaves, and no frame holds us.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


#: Assets lie below a name that changes when they do, so browsers may keep them for ever; and a module finds
#: the modules beside it by their plain names.
ASSETS = f"/ui/static/{_digest(STATIC.iterdir())}"

_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals |= {"assets": ASSETS, "version": __version__}
_templates.filters |= {
    "size": wording.size,
    "duration": wording.duration,
    "counted": wording.count,
    "pages": wording.pages,
    "trail": wording.trail,
    "kind": words.kind,
    "name": words.name,
    "path": words.path,
    "is_lasting": words.is_lasting,
    "excerpt": wording.excerpt,
    "pretty": words.pretty,
}


class Assets(StaticFiles):
    """Files that never change under their name."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    def file_response(self, *args: Any, **more: Any) -> Response:
        answer = super().file_response(*args, **more)
        answer.headers.update(SECURITY_HEADERS)
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


def page(request: Request, template: str, *, status: int = 200, **shown: Any) -> Response:
    """A page, from its template and what it shows."""
    html = _templates.get_template(template).render(
        path=request.url.path, events=request.app.state.has_events, **shown
    )
    return HTMLResponse(html, status_code=status, headers=SECURITY_HEADERS | {"cache-control": "no-cache"})


def asked(model: type[BaseModel], fields: dict[str, Any]) -> Any:
    """What a form asks for, by the API's own rules.

    Raises:
        InvalidRequest: It breaks them; the sentence says where.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told, _ = invalid_request(RequestValidationError(error.errors(include_url=False)))
        raise told from error


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(CallRoute):
    """A route whose errors are pages, too: the API's are JSON, which is nothing to show to a person.

    That goes for the error of a key with limits as well, which is shown no page but that.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, takes_any_parameter(reads_within_reach(endpoint)), **more)

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                _require_all(access_of(request).reach)
                return await handler(request)
            except RequestValidationError:
                return nothing_here(request)  # Of a page, only its address can be wrong: an id, a number.
            except ServiceError as error:
                return _error_page(request, error)
            except (asyncpg.PostgresError, *BROKEN, BaseORMException) as error:
                told = database_error(error)
                if told is None:
                    raise
                return _error_page(request, told)

        return handled


def _require_all(reach: Reach) -> None:
    """Every page has something of all collections in it: counts, menus, the queue."""
    if reach.is_limited:
        raise Forbidden("The pages want a key that opens all collections.", reach.collections)


def nothing_here(request: Request) -> Response:
    """The page of an address that leads nowhere."""
    nothing = InvalidRequest("There is no page at this address.")
    nothing.hint = "Look whether it was typed or copied as a whole."
    return page(request, "error.html", status=404, error=nothing, title="Not found")


def _error_page(request: Request, error: ServiceError) -> Response:
    status = status_of(type(error))
    answer = page(request, "error.html", status=status, error=error, title=_title(error, status))
    if error.retryable:
        answer.headers["retry-after"] = RETRY_AFTER_S
    return answer


def _title(error: ServiceError, status: int) -> str:
    if isinstance(error, InvalidRequest):
        return "That cannot be shown"
    if isinstance(error, Forbidden):
        return "Not with this key"
    return "Not found" if status == 404 else "Just now this does not work"
