"""How the demo takes files in: one by one and all at once, so that each is seen on its way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.client import AsyncSluice, Document, DocumentError, SluiceError

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
        return self.status in {"COMPLETED", "FAILED"}

    def seen(self, document: Document, *, elapsed_ms: int) -> Ingest:
        """The same, as its document is now."""
        now = replace(
            self,
            status=document.status,
            stage=document.stage or "",
            chunks=document.chunk_count,
            elapsed_ms=elapsed_ms,
        )
        return now if document.error is None else now.failed(document.error)

    def failed(self, error: SluiceError | DocumentError) -> Ingest:
        """The same, given up."""
        message = str(error) if isinstance(error, SluiceError) else error.message
        return replace(self, status="FAILED", code=error.code, message=message, hint=error.hint)


async def ingest_file(sluice: AsyncSluice, path: Path, show: Callable[[Ingest], None]) -> Ingest:
    """Send a file and follow it to its final state; failures are part of the answer."""
    begun = time.monotonic()
    ingest = Ingest(path)
    show(ingest)
    try:
        taken = await sluice.ingest(path=path)
        ingest = replace(ingest, status=taken.status, was_known=not taken.created)
        wait_s = 0  # The first answer is wanted at once.
        while True:
            document = await sluice.document(taken.document_id, wait=wait_s)
            ingest = ingest.seen(document, elapsed_ms=round((time.monotonic() - begun) * 1000))
            if ingest.is_final:
                break
            show(ingest)
            wait_s = LOOK_AGAIN_S
    except SluiceError as error:
        ingest = ingest.failed(error)
    show(ingest)
    return ingest
