"""`POST /ingest` as it is commonly written: Tortoise's `create`, then `send()`. For bench.accept.

A process that dies between the two, or a Redis that is away, loses the document; and nothing is known twice.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from fastapi import FastAPI
from pydantic import BaseModel
from tortoise import Model, Tortoise, fields

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"], namespace="plain"))  # type: ignore[no-untyped-call]


class Plain(Model):
    """A document."""

    id = fields.UUIDField(primary_key=True, default=uuid4)
    collection = fields.CharField(max_length=200)
    title = fields.TextField(null=True)
    text = fields.TextField()
    status = fields.CharField(max_length=10, default="PENDING")

    class Meta:
        table = "plain"


@dramatiq.actor
def process(document_id: str) -> None:
    """Nobody runs it here."""


class Posted(BaseModel):
    text: str
    title: str | None = None
    collection: str = "default"


class Answer(BaseModel):
    document_id: UUID
    status: str


@asynccontextmanager
async def opened(_: FastAPI) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgres://")
    await Tortoise.init(db_url=url, modules={"models": ["bench.accept_plain"]}, _enable_global_fallback=True)
    await Tortoise.generate_schemas()
    yield
    await Tortoise.close_connections()


app = FastAPI(lifespan=opened)


@app.post("/ingest", status_code=201)
async def ingest(posted: Posted) -> Answer:
    document = await Plain.create(collection=posted.collection, title=posted.title, text=posted.text)
    process.send(str(document.id))
    return Answer(document_id=document.id, status=document.status)
