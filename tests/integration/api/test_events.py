"""Live events over real connections to a real API: told once each, over reconnects, restarts and stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

import httpx
import pytest

from app.client import DocumentEvent, Event, Ready, Retries, Sluice, errors
from app.core.config import Settings
from app.core.database import connect
from tests.processes import APIProcess, api_process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def api(settings: Settings, migrated: None, folder: Path) -> Iterator[APIProcess]:
    with api_process({"STORAGE_URL": f"file://{folder / 'content'}"}, folder / "api.log") as api:
        yield api


@pytest.fixture
def sluice(api: APIProcess) -> Iterator[Sluice]:
    with Sluice(api.url, retries=Retries(tries=40, first_pause_s=0.1, longest_pause_s=0.2)) as sluice:
        yield sluice


def posted(sluice: Sluice, collection: str = "default") -> UUID:
    return sluice.ingest(text=f"The upper gate opens at six. {uuid4()}", collection=collection).document_id


def states(events: list[Event]) -> list[tuple[UUID, str | None]]:
    return [(each.document_id, each.status) for each in events if isinstance(each, DocumentEvent)]


def waiter(sluice: Sluice, document_id: UUID) -> tuple[Thread, list[str]]:
    """Somebody who asks with `?wait=`, and the status that he is told."""
    answers: list[str] = []
    waiting = Thread(target=lambda: answers.append(sluice.document(document_id, wait=30).status))
    waiting.start()
    return waiting, answers


def last_place(events: list[Event]) -> str:
    return [each.id for each in events if isinstance(each, Ready | DocumentEvent) and each.id][-1]


def test_a_document_is_told_as_it_is_and_then_until_it_is_final_or_gone(sluice: Sluice) -> None:
    first, second = posted(sluice), posted(sluice)
    watching, gone = sluice.watch(first), sluice.watch(second)
    begun = [next(watching), next(watching)]
    assert isinstance(begun[0], Ready)
    assert states(begun) == [(first, "PENDING")]
    assert states([next(gone), next(gone)]) == [(second, "PENDING")]

    sluice.cancel(first)
    sluice.delete(second)

    (ended,) = watching
    assert isinstance(ended, DocumentEvent)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("FAILED", "cancelled")
    (deleted,) = gone
    assert isinstance(deleted, DocumentEvent)
    assert (deleted.document_id, deleted.deleted, deleted.status) == (second, True, None)

    # Of what is final, the end is told at once; of what went meanwhile, that it did; else there is nothing.
    assert states([*sluice.watch(first)]) == [(first, "FAILED")]
    assert states([*sluice.watch(first, last_event_id=last_place(begun))]) == [(first, "FAILED")]
    assert states([*sluice.watch(second, last_event_id=last_place(begun))]) == [(second, None)]
    with pytest.raises(errors.DocumentNotFound):
        next(sluice.watch(second))


def test_over_reconnects_and_a_restart_of_the_api_nothing_is_lost_or_told_twice(
    sluice: Sluice, api: APIProcess, folder: Path
) -> None:
    collection = f"c{uuid4().hex}"
    watching = sluice.watch(collections=[collection])
    heard: list[Event] = [next(watching)]
    ids = [posted(sluice, collection)]
    heard.append(next(watching))

    waiting, answers = waiter(sluice, ids[0])
    with httpx.stream("GET", f"{api.url}/documents/{ids[0]}/events") as stream:
        next(stream.iter_bytes())  # By now, who came before is waiting, too.
        begun = time.monotonic()
        api.stop()
        assert time.monotonic() - begun < 5  # Although there are streams that would go on for ever.
    waiting.join()
    assert answers == ["PENDING"]
    assert "Exception" not in api.log
    again = APIProcess({"STORAGE_URL": f"file://{folder / 'content'}"}, folder / "again.log", port=api.port)
    api.process = again.started().process  # Stopped with the fixture.
    with Sluice(api.url) as other:
        ids += [posted(other, collection) for _ in range(2)]
        other.cancel(ids[0])
    heard += islice((each for each in watching if isinstance(each, DocumentEvent)), 3)

    expected = [*((each, "PENDING") for each in ids), (ids[0], "FAILED")]
    assert states(heard) == expected
    # And from every place on, exactly the rest.
    places = [each.id for each in heard if isinstance(each, Ready | DocumentEvent) and each.id]
    rests = [
        states([*islice(sluice.watch(collections=[collection], last_event_id=place), 1 + rest)])
        for place, rest in zip(places[:2], (4, 3), strict=True)
    ]
    assert rests == [expected, expected[1:]]


def test_a_place_that_is_not_kept_any_more_is_410_and_what_is_none_422(
    sluice: Sluice, api: APIProcess, settings: Settings
) -> None:
    place = next(sluice.watch()).id  # type: ignore[union-attr]
    assert place is not None

    async def forgotten_to(xid: int) -> None:
        connection = await connect(settings)
        await connection.execute("UPDATE forgotten_events SET xid = $1::text::xid8", str(xid))
        await connection.close()

    asyncio.run(forgotten_to(int(place.split(":")[0])))
    try:
        for path in ("/events", f"/documents/{posted(sluice)}/events"):
            answers = {
                given: httpx.get(f"{api.url}{path}", headers={"last-event-id": given})
                for given in (place, "12", "9:8:", "1:2:3")
            }
            assert [answer.status_code for answer in answers.values()] == [410, 422, 422, 422]
            assert answers[place].json()["code"] == "events_expired"
        with pytest.raises(errors.EventsExpired):
            next(sluice.watch(last_event_id=place))
    finally:
        asyncio.run(forgotten_to(0))


def test_a_stream_says_that_nobody_may_keep_it(sluice: Sluice, api: APIProcess) -> None:
    with httpx.stream("GET", f"{api.url}/events", params={"status": "FAILED"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    assert httpx.get(f"{api.url}/events", params={"status": "DONE"}).status_code == 422
    assert httpx.get(f"{api.url}/documents/{uuid4()}/events").status_code == 404


def test_who_waits_for_a_document_is_answered_as_soon_as_it_is_final(sluice: Sluice) -> None:
    document_id = posted(sluice)
    waiting, answers = waiter(sluice, document_id)
    begun = time.monotonic()
    sluice.cancel(document_id)
    waiting.join()
    assert answers == ["FAILED"]
    assert time.monotonic() - begun < 3
