"""The least that a durable `POST /ingest` can do: one INSERT, one commit, an answer. For bench.accept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel


class Posted(BaseModel):
    text: str
    title: str | None = None
    collection: str = "default"


class Answer(BaseModel):
    document_id: UUID
    status: str


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS floor (id uuid PRIMARY KEY, collection text, title text, text text)"
        )
        app.state.pool = pool
        yield


app = FastAPI(lifespan=opened)


@app.post("/ingest", status_code=201)
async def ingest(posted: Posted) -> Answer:
    document_id = uuid4()
    await app.state.pool.execute(
        "INSERT INTO floor VALUES ($1, $2, $3, $4)", document_id, posted.collection, posted.title, posted.text
    )
    return Answer(document_id=document_id, status="PENDING")
