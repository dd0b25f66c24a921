"""What the demo asks of the API, over HTTP like any other client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

FINAL = {"COMPLETED", "FAILED"}
LOOK_AGAIN_S = 1  # How long one request waits for the end; between two of them the screen moves on.


@dataclass(frozen=True)
class Ingest:
    """How far one file has come."""

    path: Path
    status: str = "sending"
    stage: str = ""
    chunks: int = 0
    elapsed_ms: int = 0
    was_known: bool = False
    code: str = ""
    message: str = ""
    hint: str = ""

    @property
    def is_completed(self) -> bool:
        return self.status == "COMPLETED"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True)
class Hit:
    """One passage that answers, perhaps."""

    text: str
    score: float
    source: str
    page: int | None


class DemoClient:
    """Sends files, watches them, asks questions."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ingest(self, path: Path, show: Callable[[Ingest], None]) -> Ingest:
        """Send a file and follow it to its final state; failures are part of the answer."""
        begun = time.monotonic()
        ingest = Ingest(path)
        show(ingest)
        content = await asyncio.to_thread(path.read_bytes)
        response = await self._http.post("/ingest", files={"file": (path.name, content)})
        answer = response.json()
        if response.is_error:
            ingest = _refused(ingest, answer)
        else:
            ingest = replace(
                ingest, status=answer["status"], was_known=response.status_code == httpx.codes.OK
            )
            ingest = await self._follow(ingest, str(answer["document_id"]), begun=begun, show=show)
        show(ingest)
        return ingest

    async def _follow(
        self, ingest: Ingest, document_id: str, *, begun: float, show: Callable[[Ingest], None]
    ) -> Ingest:
        wait_s = 0  # The first answer is wanted at once.
        while True:
            response = await self._http.get(f"/documents/{document_id}", params={"wait": wait_s})
            answer = response.json()
            if response.is_error:
                return _refused(ingest, answer)
            elapsed_ms = round((time.monotonic() - begun) * 1000)
            ingest = _seen(ingest, answer, elapsed_ms=elapsed_ms)
            if ingest.is_final:
                return ingest
            show(ingest)
            wait_s = LOOK_AGAIN_S

    async def search(self, query: str, *, top_k: int) -> list[Hit]:
        """The best passages.

        Raises:
            httpx.HTTPStatusError: The API refuses.
        """
        response = await self._http.post("/search", json={"query": query, "top_k": top_k})
        response.raise_for_status()
        return [_hit(hit) for hit in response.json()["hits"]]


def _seen(ingest: Ingest, answer: dict[str, Any], *, elapsed_ms: int) -> Ingest:
    error = answer.get("error") or {}
    return replace(
        ingest,
        status=answer["status"],
        stage=answer.get("stage") or "",
        chunks=answer.get("chunk_count") or 0,
        elapsed_ms=elapsed_ms,
        code=error.get("code") or "",
        message=error.get("message") or "",
        hint=error.get("hint") or "",
    )


def _refused(ingest: Ingest, problem: dict[str, Any]) -> Ingest:
    return replace(
        ingest,
        status="FAILED",
        code=problem.get("code") or "refused",
        message=problem.get("detail") or problem.get("title") or "",
        hint=problem.get("hint") or "",
    )


def _hit(hit: dict[str, Any]) -> Hit:
    citation = hit.get("citation") or {}
    source = citation.get("source") or citation.get("title") or ""
    return Hit(text=hit["text"], score=hit["score"], source=source, page=citation.get("page"))
