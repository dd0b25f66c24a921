"""What was sent, and what was made of it: content, text and chunks of a document."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.call_route import CallRoute
from app.api.cursor import ChunkCursor
from app.api.dependencies import Resources, Within
from app.api.documents import known
from app.api.etags import IfNoneMatch, is_known
from app.api.file_answer import HARMLESS, attachment, content_answer
from app.api.problems import problems
from app.api.rights import reads_within_reach
from app.api.streams import Stream
from app.errors import (
    ContentMissing,
    DocumentNotFound,
    InvalidRequest,
    NotSearchable,
    RangeNotSatisfiable,
    VersionReplaced,
)
from app.models.chunk import Chunk
from app.models.document import Document
from app.models.reach import Reach
from app.schemas.chunk import ChunkPage, ChunkResponse
from app.services.content_service import ContentService
from app.storage.content_store import RemoteContent

router = APIRouter(tags=["documents"], route_class=CallRoute)

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/documents/{document_id}/chunks", responses=problems(DocumentNotFound, InvalidRequest, VersionReplaced)
)
@reads_within_reach
async def list_chunks(
    document_id: UUID,
    reach: Within,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> ChunkPage:
    """The chunks of the version that searches find, in their order; none while there is no such version."""
    place = None if cursor is None else ChunkCursor.decode(cursor)
    document = await known(document_id, reach)
    version = document.indexed_version
    if place is not None and place.version != version:
        raise VersionReplaced(document_id)
    if version is None:
        return ChunkPage(document_id=document_id, version=None, chunks=[], next_cursor=None)
    after = -1 if place is None else place.ordinal
    chunks = await Chunk.of_version(document_id, version, after=after, limit=limit)
    if not chunks and after + 1 < document.chunk_count:
        raise VersionReplaced(document_id)  # Between our two looks.
    last = chunks[-1].ordinal if chunks else after
    has_more = last + 1 < document.chunk_count
    return ChunkPage(
        document_id=document_id,
        version=version,
        chunks=[ChunkResponse.of(chunk) for chunk in chunks],
        next_cursor=ChunkCursor(version, last).encode() if has_more else None,
    )


@router.get(
    "/documents/{document_id}/content",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes as they were sent, or the text",
            "content": {"application/octet-stream": BINARY, "text/plain": {"schema": {"type": "string"}}},
        },
        206: {
            "description": "The part that `Range` asks for",
            "content": {"application/octet-stream": BINARY},
        },
        304: {"description": "`If-None-Match` has it already"},
        **problems(
            ContentMissing,
            DocumentNotFound,
            InvalidRequest,
            NotSearchable,
            RangeNotSatisfiable,
            VersionReplaced,
        ),
    },
)
@reads_within_reach
async def get_content(
    document_id: UUID,
    resources: Resources,
    reach: Within,
    format: Annotated[  # Its name in the query.
        Literal["original", "text"],
        Query(description="`original`: as it was sent; `text`: what was read in it and indexed."),
    ] = "original",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The content as it was sent, for saving; or the text of the version that searches find.

    The text ends with its last chunk, and has every chunk at `[char_start:char_end]`, counted in characters.
    """
    if format == "text":
        return await _text(document_id, resources.contents, reach, if_none_match)
    document, content = await resources.contents.open(document_id, reach)
    etag = f'"{document.sha256}"'
    if is_known(etag, if_none_match):
        if not isinstance(content, RemoteContent):
            content.close()
        return _unchanged(etag)
    return content_answer(content, media_type=document.media_type, name=_name(document), etag=etag)


async def _text(
    document_id: UUID, contents: ContentService, reach: Reach, if_none_match: str | None
) -> Response:
    document = await known(document_id, reach)
    etag = f'"{document_id}.{document.indexed_version}"'
    if document.indexed_version is not None and is_known(etag, if_none_match):
        return _unchanged(etag)
    text = contents.text(document)
    first = await anext(text, "")  # What can be refused is refused now, while there is a status to tell it.
    return Stream(
        _all(first, text),
        media_type="text/plain; charset=utf-8",
        headers=HARMLESS | {"etag": etag, "content-disposition": attachment(f"{_name(document)}.txt")},
    )


async def _all(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for text in rest:
        yield text


def _name(document: Document) -> str:
    if document.source_name:
        return document.source_name
    suffix = mimetypes.guess_extension(document.media_type) or ""
    return (document.title or str(document.id)) + suffix


def _unchanged(etag: str) -> Response:
    return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"etag": etag})
