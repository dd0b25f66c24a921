"""Small documents are ingested together again after a time in which none could be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.config import Settings
from app.jobs import ingestion_job
from app.jobs.ingestion_job import work_on_next
from app.models import acceptance
from app.models.acceptance import NewDocument
from app.models.document import Document
from app.models.sql import fetch
from app.schemas.webhook import message_body
from app.services import pace
from app.services.company import LEAST
from app.services.resources import WorkerResources, open_worker
from tests.support import emptied_database

#: Within so many, also the fastest of machines has had work for long enough.
MOST = 6_000


async def accept(count: int, *, after: int) -> None:
    """Documents that have waited in a long queue."""
    many = [
        NewDocument(
            sha256=f"{number:064d}",
            size_bytes=30,
            media_type="text/plain",
            content=b"The upper gate opens at six. " + str(number).encode(),
        )
        for number in range(after, after + count)
    ]
    await acceptance.accept_many(many)
    await fetch("UPDATE documents SET sent_at = sent_at - interval '1 minute' RETURNING id")


def room(resources: WorkerResources) -> int:
    with resources.company.room() as room:
        return room


async def test_a_worker_that_has_been_slow_for_a_minute_finds_its_pace_again(
    settings: Settings, migrated: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings.model_copy(update={"STORAGE_URL": f"file://{tmp_path}"})
    async with open_worker(own, webhook_body=message_body) as resources:
        monkeypatch.setattr(ingestion_job, "worker_resources", lambda: resources)
        await emptied_database()
        while room(resources) >= LEAST:  # As after an embedder that was away.
            with monkeypatch.context() as slow:
                slow.setattr(pace, "time", SimpleNamespace(monotonic=iter([0.0, 60.0]).__next__))
                with resources.company.pace.under_way():
                    pass

        # What has ended counts once there was some work: on a fast machine, that is many documents.
        accepted = 0
        while room(resources) < LEAST and accepted < MOST:
            await accept(60, after=accepted)
            accepted += 60
            while await work_on_next():
                pass

        assert await Document.filter(status="COMPLETED").count() == accepted
        assert room(resources) >= LEAST
