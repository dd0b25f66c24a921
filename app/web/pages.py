"""The pages: what the API knows, asked in the same words, and shown as HTML."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Match

from app.api.cursor import Cursor
from app.api.dependencies import Resources, Within
from app.api.documents import MAX_ATTEMPTS, known
from app.api.errors import status_of
from app.api.rights import show_to_all
from app.errors import InvalidRequest, ServiceError
from app.models.attempt import Attempt, counted
from app.models.collection import Collection
from app.models.document import Document, DocumentStatus
from app.models.listing import listed, media_types
from app.schemas.document import DocumentResponse, ListQuery
from app.schemas.ingest import MAX_TITLE_CHARS
from app.schemas.search import SearchRequest
from app.search.hits import Hit
from app.web import charts
from app.web.page import ASSETS, Assets, PageRoute, asked, nothing_here, page
from app.web.reading import read
from app.web.words import kind

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Documents in a page of the list.
LISTED = 50

#: Collections that a menu offers; of more, people type the name.
MOST_COLLECTIONS = 200


def add_pages(app: FastAPI) -> None:
    """Give an app that has all its other routes its pages."""
    asks = {"type": "http", "method": "GET", "path": "/events", "root_path": "", "headers": []}
    app.state.has_events = any(route.matches(asks)[0] is Match.FULL for route in app.routes)
    app.mount(ASSETS, Assets())
    show_to_all(app.router.routes[-1:])
    app.router.routes.extend(router.routes)


# --- upload ---------------------------------------------------------------------------------------------


@router.get("/")
async def upload_page(request: Request, resources: Resources) -> Response:
    """Files, folders and texts go in here."""
    return page(
        request,
        "upload.html",
        collections=await _collections(),
        limit_bytes=resources.settings.MAX_UPLOAD_BYTES,
        max_title_chars=MAX_TITLE_CHARS,
    )


# --- documents ------------------------------------------------------------------------------------------


@router.get("/ui/documents")
async def documents_page(request: Request, resources: Resources, reach: Within) -> Response:
    """A page of the list, by the filters of `GET /documents`."""
    chosen = _said(request)
    refused: ServiceError | None = None
    documents: list[Document] = []
    cursor: str | None = None
    try:
        query: ListQuery = asked(ListQuery, {"limit": LISTED, **chosen})
        after = None if query.cursor is None else Cursor.decode(query.cursor)
        documents = await listed(query.filter(), reach, after=after, limit=query.limit + 1)
        if len(documents) > query.limit:
            documents = documents[: query.limit]
            cursor = Cursor.after(documents[-1]).encode()
    except InvalidRequest as error:
        refused = error
    filters = {key: value for key, value in chosen.items() if key != "cursor"}
    return page(
        request,
        "documents.html",
        status=200 if refused is None else status_of(type(refused)),
        documents=[DocumentResponse.of(document) for document in documents],
        attempts=await counted([document.id for document in documents]),
        refused=refused,
        chosen=chosen,
        filters=filters,
        statuses=_status_tabs(filters),
        counts=await resources.stats.by_status(),
        collections=await _collections(chosen.get("collection")),
        media_types=[(each, kind(each)) for each in _with(await media_types(), chosen.get("media_type"))],
        older=None if cursor is None else _link({**filters, "cursor": cursor}),
        newest=_link(filters) if "cursor" in chosen else None,
    )


def _status_tabs(filters: Mapping[str, Any]) -> list[tuple[DocumentStatus | None, str, bool]]:
    """(status, its link, whether it is the one that is shown), with all of them first."""
    others = {key: value for key, value in filters.items() if key != "status"}
    now = filters.get("status")
    return [
        (None, _link(others), not now),
        *(
            (status, _link({**others, "status": [status.value]}), now == [status.value])
            for status in DocumentStatus
        ),
    ]


@router.get("/ui/documents/{document_id}")
async def document_page(
    request: Request, document_id: UUID, reach: Within, chunk: int = 0, version: int | None = None
) -> Response:
    """All about a document: how it went, what is said of it, and its text in chunks."""
    document = await known(document_id, reach)
    attempts = await Attempt.filter(document_id=document_id).order_by("-attempt").limit(MAX_ATTEMPTS)
    reading = None
    if document.indexed_version is not None:
        reading = await read(
            document_id,
            document.indexed_version,
            ordinal=min(chunk, document.chunk_count - 1),
            total=document.chunk_count,
        )
    return page(
        request,
        "document.html",
        document=DocumentResponse.of(document),
        indexed_version=document.indexed_version,
        attempts=attempts,
        stages=charts.stages_of(attempts),
        reading=reading,
        asked_for=chunk if "chunk" in request.query_params else None,
        is_other_version=version is not None and version != document.indexed_version,
    )


# --- search ---------------------------------------------------------------------------------------------


@router.get("/ui/search")
async def search_page(request: Request, resources: Resources, reach: Within) -> Response:
    """A question in the address, and its hits."""
    chosen = _said(request)
    hits: list[Hit] = []
    refused: ServiceError | None = None
    began = time.perf_counter()
    if "q" in chosen:
        try:
            query: SearchRequest = asked(SearchRequest, _question(chosen))
            hits = await resources.search.search(query.asked(), reach)
        except ServiceError as error:
            refused = error
    return page(
        request,
        "search.html",
        status=200 if refused is None else status_of(type(refused)),
        chosen=chosen,
        hits=hits,
        took_s=time.perf_counter() - began,
        refused=refused,
        collections=await _collections(chosen.get("collection")),
        media_types=[(each, kind(each)) for each in _with(await media_types(), chosen.get("media_type"))],
        is_filtered=any(chosen.get(name) for name in ("collection", "media_type", "key", "filter")),
    )


def _question(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The form in the words of `POST /search`."""
    parts: list[Any] = []
    if "media_type" in chosen:
        parts.append({"field": "media_type", "eq": chosen["media_type"]})
    if "key" in chosen:
        parts.append({"field": f"metadata.{chosen['key']}", **_condition(chosen.get("value"))})
    if "filter" in chosen:
        try:
            parts.append(json.loads(chosen["filter"]))
        except ValueError as error:
            raise InvalidRequest(f"The filter is not JSON: {error}.") from error
    question: dict[str, Any] = {"query": chosen["q"], "mode": chosen.get("mode", "hybrid"), "top_k": 20}
    if "collection" in chosen:
        question["collections"] = [chosen["collection"]]
    if parts:
        question["filter"] = parts[0] if len(parts) == 1 else {"and": parts}
    return question


def _condition(value: str | None) -> dict[str, Any]:
    """What a field has to be. A form has only texts: `2024` means the number, too."""
    if value is None:
        return {"exists": True}
    try:
        meant = json.loads(value)
    except ValueError:
        meant = value
    return {"in": [value, meant] if isinstance(meant, int | float) else [value]}


# --- overview -------------------------------------------------------------------------------------------


@router.get("/ui/overview")
async def overview_page(request: Request, resources: Resources) -> Response:
    """How the whole service is."""
    stats = await resources.stats.now()
    return page(request, "overview.html", stats=stats, plot=charts.throughput(stats.throughput))


# --- anything else --------------------------------------------------------------------------------------


@router.get("/ui/{address:path}")
async def no_page(request: Request) -> Response:
    """An old or mistyped address: a person is shown a page, too."""
    return nothing_here(request)


# --- what they share ------------------------------------------------------------------------------------


def _said(request: Request) -> dict[str, Any]:
    """The form's fields: those that are filled in, `status` as a list."""
    said: dict[str, Any] = {key: value for key, value in request.query_params.items() if value.strip()}
    if "status" in said:
        said["status"] = request.query_params.getlist("status")
    return said


def _link(fields: Mapping[str, Any]) -> str:
    return f"?{urlencode(fields, doseq=True)}" if fields else "/ui/documents"


async def _collections(chosen: str | None = None) -> list[str]:
    """Names to choose from, the chosen one among them."""
    names = (
        await Collection.filter(deleting_at__isnull=True)
        .order_by("name")
        .limit(MOST_COLLECTIONS)
        .values_list("name", flat=True)
    )
    return _with([str(name) for name in names], chosen)


def _with(choices: list[str], chosen: str | None) -> list[str]:
    return choices if chosen is None or chosen in choices else [*choices, chosen]
