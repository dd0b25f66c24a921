"""The client knows the whole API: every operation, parameter and field of the server's OpenAPI document."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from app.client import Sluice, answers, errors
from app.client.items import Item

#: Each operation's method, and what its parameters and its body's fields are called there, where not the
#: same. None: the client does it by itself.
OPERATIONS: dict[tuple[str, str], tuple[str, dict[str, str | None]]] = {
    ("post", "/ingest"): ("ingest", {"Idempotency-Key": "idempotency_key", "content": "text"}),
    ("post", "/ingest/batch"): (
        "ingest_many",
        {"accept": None, "external_ids": "external_id", "content": "text"},
    ),
    ("get", "/batches/{batch_id}"): ("batch", {}),
    ("get", "/batches/{batch_id}/items"): ("batch_items", {"limit": "page_size", "cursor": None}),
    ("get", "/documents"): ("documents", {"limit": "page_size", "cursor": None}),
    ("get", "/documents/{document_id}"): ("document", {"if-none-match": None}),  # `refresh`.
    ("patch", "/documents/{document_id}"): ("amend", {"if-match": "if_match"}),
    ("delete", "/documents/{document_id}"): ("delete", {"if-match": "if_match"}),
    ("get", "/documents/{document_id}/attempts"): ("attempts", {}),
    ("get", "/documents/{document_id}/chunks"): ("chunks", {"limit": "page_size", "cursor": None}),
    # Nothing is kept that a condition could be about; `download` has its own.
    ("get", "/documents/{document_id}/content"): ("content", {"if-none-match": None}),
    ("post", "/documents/{document_id}/retry"): ("retry", {}),
    ("post", "/documents/{document_id}/cancel"): ("cancel", {}),
    ("post", "/documents/retry"): ("retry_failed", {}),
    ("get", "/collections"): ("collections", {"limit": "page_size", "after": None}),
    ("get", "/collections/{name}"): ("collection", {}),
    ("put", "/collections/{name}"): ("put_collection", {}),
    ("delete", "/collections/{name}"): ("delete_collection", {}),
    ("post", "/search"): ("search", {}),
    ("get", "/healthz"): ("health", {}),
    ("get", "/readyz"): ("ready", {}),
    ("get", "/stats"): ("stats", {}),
    ("get", "/events"): (
        "watch",
        {
            "collection": "collections",
            "status": "statuses",
            "batch": "batch_id",
            "last-event-id": "last_event_id",
        },
    ),
    ("get", "/documents/{document_id}/events"): ("watch", {"last-event-id": "last_event_id"}),
    ("post", "/keys"): ("create_key", {}),
    ("get", "/keys"): ("keys", {}),
    ("get", "/keys/{key_id}"): ("key", {}),
    ("delete", "/keys/{key_id}"): ("delete_key", {}),
    ("post", "/webhooks"): ("create_webhook", {}),
    ("get", "/webhooks"): ("webhooks", {}),
    ("get", "/webhooks/{webhook_id}"): ("webhook", {}),
    ("patch", "/webhooks/{webhook_id}"): ("change_webhook", {}),
    ("delete", "/webhooks/{webhook_id}"): ("delete_webhook", {}),
    ("post", "/webhooks/{webhook_id}/test"): ("test_webhook", {}),
    ("get", "/webhooks/{webhook_id}/deliveries"): ("deliveries", {"limit": "page_size", "cursor": None}),
    ("post", "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"): ("replay_delivery", {}),
}

#: Schemas of answers, by the names of their values.
ANSWERS: dict[str, type[answers.Answer]] = {
    "AttemptResponse": answers.Attempt,
    "AttemptsResponse": answers.Attempts,
    "BatchItemPage": answers.BatchItemPage,
    "BatchStatus": answers.Batch,
    "ChunkPage": answers.ChunkPage,
    "ChunkResponse": answers.Chunk,
    "Citation": answers.Citation,
    "CollectionPage": answers.CollectionPage,
    "CollectionResponse": answers.Collection,
    "Context": answers.Context,
    "Deletion": answers.Deletion,
    "DeliveryAttempt": answers.DeliveryAttempt,
    "DeliveryPage": answers.DeliveryPage,
    "DeliveryResponse": answers.Delivery,
    "EmbeddingModel": answers.EmbeddingModel,
    "ReembeddingError": answers.ReembeddingError,
    "ReembeddingProgress": answers.ReembeddingProgress,
    "DocumentError": answers.DocumentError,
    "DocumentEvent": answers.DocumentEvent,
    "DocumentPage": answers.DocumentPage,
    "DocumentResponse": answers.Document,
    "Health": answers.Health,
    "Highlight": answers.Highlight,
    "IngestResponse": answers.Ingested,
    "ItemError": answers.ItemError,
    "ItemResponse": answers.BatchItem,
    "Leg": answers.Leg,
    "Progress": answers.Progress,
    "ProgressEvent": answers.ProgressEvent,
    "RetryResponse": answers.Retried,
    "SearchHit": answers.Hit,
    "SearchResponse": answers.Hits,
    "HeldDocument": answers.Held,
    "MinuteStats": answers.Minute,
    "QueueStats": answers.Queue,
    "StatsResponse": answers.Stats,
    "StorageStats": answers.Storage,
    "KeyCreated": answers.KeyCreated,
    "KeyResponse": answers.Key,
    "KeysResponse": answers.KeyList,
    "WebhookCreated": answers.WebhookCreated,
    "WebhookResponse": answers.Webhook,
    "WebhooksResponse": answers.WebhookList,
    "WorkerStats": answers.Worker,
}

#: Read line by line, so never as one value.
IN_PARTS = {"BatchResponse": {*answers.BatchSummary.model_fields, "items"}}


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def asked(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """The names of all that an operation can be told."""
    for parameter in operation.get("parameters", []):
        yield parameter["name"]
    for body in operation.get("requestBody", {}).get("content", {}).values():
        yield from resolved(document, body["schema"]).get("properties", {})


def answered(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """The names of all schemas in a schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield name
        yield from answered(document, document["components"]["schemas"][name])
    for part in schema.values():
        for each in part if isinstance(part, list) else [part]:
            if isinstance(each, dict):
                yield from answered(document, each)


def types_of(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """What a field can be, by JSON Schema's names, with an enumeration's values and the kind of a list."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        return {kind for part in schema["anyOf"] for kind in types_of(document, part)}
    if "enum" in schema or "const" in schema:
        return {f"={value}" for value in schema.get("enum", [schema.get("const")])}
    if schema.get("type") == "array":
        return {f"[{kind}]" for kind in types_of(document, schema["items"])}
    return {schema.get("format") or schema.get("type", "anything")}


async def test_every_operation_parameter_and_field_of_a_request_can_be_said(document: dict[str, Any]) -> None:
    unsaid = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert (method, path) in OPERATIONS, f"the client has no method for {method.upper()} {path}"
            name, renamed = OPERATIONS[method, path]
            known = {*inspect.signature(getattr(Sluice, name)).parameters}
            if "items" in known:
                known |= {*inspect.signature(Item).parameters}
            renamed = {"batch": "batch_id", **renamed}
            for said in asked(document, operation):
                argument = renamed.get(said, said)
                if argument is not None and argument not in known:
                    unsaid.append(f"{name}({said}=…)")
    assert not unsaid


async def test_every_field_of_an_answer_can_be_read_and_has_its_type(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for answer in operation["responses"].values():
                for body in answer.get("content", {}).values():
                    for name in answered(document, body.get("schema", {})):
                        assert (
                            name in {*ANSWERS, *IN_PARTS, "Problem", "InvalidField"}
                            or "enum" in schemas[name]
                        ), f"the client has no value for {name} of {path}"
    for name, kind in ANSWERS.items():
        own = kind.model_json_schema(mode="validation")
        inside = {"components": {"schemas": own.get("$defs", {})}}
        for field, schema in schemas[name]["properties"].items():
            assert field in kind.model_fields, f"{kind.__name__} has no {field}"
            mine = types_of(inside, own["properties"][field])
            theirs = types_of(document, schema)
            assert mine == theirs, f"{kind.__name__}.{field} is {mine}, and {theirs} on the wire"
    for name, fields in IN_PARTS.items():
        assert fields == {*schemas[name]["properties"]}


async def test_every_field_of_a_problem_is_in_the_error(document: dict[str, Any]) -> None:
    told = {*document["components"]["schemas"]["Problem"]["properties"]} - {"type", "title"}
    kept = vars(errors.SluiceError("detail")).keys() | {"detail", "retryable"}
    assert told <= kept
