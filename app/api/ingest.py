"""`POST /ingest`: validate, hash, check for a duplicate, write the row, ring the doorbell."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, status
from pydantic import StringConstraints, TypeAdapter

from app.api.dependencies import access_of, doorbell_of, resources_of
from app.api.direct_route import DirectRoute
from app.api.openapi import ref
from app.api.problems import problems
from app.api.rights import changes_within_reach
from app.api.upload import checked, offered
from app.errors import (
    CollectionDeleting,
    DatabaseFull,
    EmptyFile,
    Forbidden,
    IdempotencyKeyReused,
    InvalidRequest,
    PayloadTooLarge,
    RequestTooSlow,
    StorageFull,
    UnknownBodyType,
    UnsupportedMediaType,
)
from app.jobs.ingestion_job import process_ingestion
from app.schemas.ingest import IngestRequest, IngestResponse, example_of

router = APIRouter(tags=["ingest"], route_class=DirectRoute)

IDEMPOTENCY_KEY = "Idempotency-Key"
IdempotencyKey = TypeAdapter(
    Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]
)


def _request() -> dict[str, Any]:
    # The handler reads the request itself, its body as it comes; so FastAPI has to be told what may be in it.
    text = {"schema": ref("IngestRequest"), "example": example_of(IngestRequest)}
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "title": {"type": "string"},
            "external_id": {"type": "string"},
            "collection": {"type": "string", "default": "default"},
            "metadata": {"type": "string", "description": "A JSON object."},
        },
    }
    key = {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": False,
        "schema": IdempotencyKey.json_schema(),
        "description": "The same key gets the same answer for a day, whatever became of the document since."
        " With another body: 422.",
    }
    return {
        "parameters": [key],
        "requestBody": {
            "required": True,
            "content": {"application/json": text, "multipart/form-data": {"schema": form}},
        },
    }


@router.post(
    "/ingest",
    status_code=status.HTTP_201_CREATED,
    response_model=IngestResponse,
    openapi_extra=_request(),
    responses={
        200: {"model": IngestResponse, "description": "Known already; with its present status"},
        **problems(
            CollectionDeleting,
            DatabaseFull,
            EmptyFile,
            Forbidden,
            IdempotencyKeyReused,
            InvalidRequest,
            PayloadTooLarge,
            RequestTooSlow,
            StorageFull,
            UnknownBodyType,
            UnsupportedMediaType,
        ),
    },
)
@changes_within_reach
async def ingest(request: Request) -> Response:
    """Take a document in. The answer comes as soon as it is durable; a worker does the rest.

    `201` is a promise: the document will be `COMPLETED`, or `FAILED` with a reason. The same document again
    is answered with `200` and its id, and nothing is done twice; a FAILED one is queued again.
    """
    resources = resources_of(request)
    reach = access_of(request).reach
    key = _idempotency_key(request)
    async with offered(request, resources.settings) as offer:
        accepted = await resources.intake.accept(replace(offer, idempotency_key=key) if key else offer, reach)
    if accepted.queued:
        # Commit, then send: if this process dies in between, or Redis is away, the row is the proof, and the
        # reconciler sends it.
        await doorbell_of(request).ring(
            process_ingestion.send, accepted.document_id, message_id=accepted.message_id
        )
    return Response(
        IngestResponse(document_id=accepted.document_id, status=accepted.status).model_dump_json(),
        status_code=status.HTTP_201_CREATED if accepted.created else status.HTTP_200_OK,
        headers={"Location": f"/documents/{accepted.document_id}"},
        media_type="application/json",
    )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    return checked(lambda: IdempotencyKey.validate_python(key), "header", IDEMPOTENCY_KEY.lower())
