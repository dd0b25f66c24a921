"""The connection breaks in every phase of every call: the right result or the right error, nothing twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.client import Item, Retries, Sluice, errors
from app.client.answers import Delivery
from app.core.queue import broker
from tests.cutting import CuttingProxy, Phase
from tests.keys import OWNER
from tests.processes import APIProcess, api_process

#: No waiting in tests; how long it is has tests of its own.
QUICK = Retries(tries=4, first_pause_s=0.001)

PHASES = [*Phase]


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    folder = tmp_path_factory.mktemp("api")
    with api_process(
        {"STORAGE_URL": f"file://{folder / 'content'}", "API_KEYS": OWNER}, folder / "log"
    ) as process:
        yield process
    broker.flush_all()


@pytest.fixture(scope="module")
def proxy(api: APIProcess) -> Iterator[CuttingProxy]:
    with CuttingProxy(api.port).serving() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(proxy: CuttingProxy) -> Iterator[Sluice]:
    """Over the proxy."""
    with Sluice(proxy.url, api_key=OWNER, retries=QUICK) as client:
        yield client


@pytest.fixture(scope="module")
def direct(api: APIProcess) -> Iterator[Sluice]:
    """To the server itself."""
    with Sluice(api.url, api_key=OWNER) as client:
        yield client


@dataclass(frozen=True)
class Wires:
    """One client over the proxy, one to the server itself."""

    client: Sluice
    direct: Sluice
    proxy: CuttingProxy


@pytest.fixture
def over(client: Sluice, direct: Sluice, proxy: CuttingProxy) -> Wires:
    return Wires(client, direct, proxy)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A collection of this test's own."""
    return request.node.name


@pytest.fixture
def known(direct: Sluice, place: str) -> UUID:
    return direct.ingest("The upper gate opens at six.", collection=place, title="Gates").document_id


def is_not_final(client: Sluice, document_id: UUID) -> bool:
    with pytest.raises(errors.NotFinalInTime) as told:
        client.wait(document_id, 0.01)
    return told.value.document_id == document_id


Check = Callable[[Sluice, UUID, str], Any]

LOOKS: dict[str, Check] = {
    "document": lambda c, id_, _: c.document(id_).title == "Gates",
    "documents": lambda c, id_, p: [d.document_id for d in c.documents(collection=p)] == [id_],
    "refresh": lambda c, id_, _: (d := c.document(id_)) and c.refresh(d) is d,
    "attempts": lambda c, id_, _: c.attempts(id_) == [],
    "chunks": lambda c, id_, _: list(c.chunks(id_)) == [],
    "content": lambda c, id_, _: c.content(id_) == b"The upper gate opens at six.",
    "collection": lambda c, _, p: c.collection(p).documents == {"PENDING": 1},
    "collections": lambda c, _, p: p in [each.name for each in c.collections()],
    "search": lambda c, _, p: c.search("gate", mode="keyword", collections=[p]) == [],
    "health": lambda c, _, __: c.health().status == "ok",
    "ready": lambda c, _, __: c.ready().status == "ok",
    "wait": lambda c, id_, _: is_not_final(c, id_),
}
MOVES: dict[str, Check] = {
    "retry": lambda c, id_, _: c.retry(id_).status == "PENDING",
    "cancel": lambda c, id_, _: c.cancel(id_).error.code == "cancelled",  # type: ignore[union-attr]
    "amend": lambda c, id_, _: c.amend(id_, title="Weir").title == "Weir",
    "amend if unchanged": lambda c, id_, _: (
        c.amend(id_, metadata={"a": {"b": 1}}, if_match=c.document(id_).etag).metadata == {"a": {"b": 1}}
    ),
    "delete": lambda c, id_, _: c.delete(id_) is None,
    "put_collection": lambda c, _, p: c.put_collection(p, chunk_tokens=64).chunk_tokens == 64,
    "delete_collection": lambda c, _, p: (gone := c.delete_collection(p)) is None or gone.deletion,
}


@pytest.mark.parametrize("name", [*LOOKS, *MOVES])
@pytest.mark.parametrize("phase", PHASES)
def test_a_call_that_was_cut_has_the_right_result(
    over: Wires, known: UUID, place: str, phase: Phase, name: str
) -> None:
    check = {**LOOKS, **MOVES}[name]
    over.proxy.arm(phase, phase)
    assert check(over.client, known, place)
    assert over.proxy.cuts == 2


WEBHOOK_CALLS: dict[str, Callable[[Sluice, Delivery], Any]] = {
    "webhook": lambda c, d: c.webhook(d.webhook_id).webhook_id == d.webhook_id,
    "webhooks": lambda c, d: d.webhook_id in [each.webhook_id for each in c.webhooks()],
    "change_webhook": lambda c, d: c.change_webhook(d.webhook_id, statuses=["FAILED"]).statuses == ["FAILED"],
    "deliveries": lambda c, d: [each.delivery_id for each in c.deliveries(d.webhook_id)] == [d.delivery_id],
    "replay_delivery": lambda c, d: c.replay_delivery(d.webhook_id, d.delivery_id).status == "PENDING",
    "delete_webhook": lambda c, d: c.delete_webhook(d.webhook_id) is None,
}


@pytest.mark.parametrize("name", WEBHOOK_CALLS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_call_about_webhooks_that_was_cut_has_the_right_result(
    over: Wires, phase: Phase, name: str
) -> None:
    webhook = over.direct.create_webhook("https://hooks.example/sluice")
    delivery = over.direct.test_webhook(webhook.webhook_id)
    over.proxy.arm(phase, phase)
    assert WEBHOOK_CALLS[name](over.client, delivery)
    assert over.proxy.cuts == 2


def test_a_webhook_is_not_made_twice_nor_tested_twice(over: Wires) -> None:
    before = {webhook.webhook_id for webhook in over.direct.webhooks()}
    over.proxy.arm(Phase.WAITING)
    with pytest.raises(errors.ConnectionLost):
        over.client.create_webhook("https://hooks.example/once")
    (made,) = [webhook for webhook in over.direct.webhooks() if webhook.webhook_id not in before]

    over.proxy.arm(Phase.WAITING)
    with pytest.raises(errors.ConnectionLost):
        over.client.test_webhook(made.webhook_id)
    assert len(list(over.direct.deliveries(made.webhook_id))) == 1


KEY_CALLS: dict[str, Callable[[Sluice, UUID], Any]] = {
    "key": lambda c, id_: c.key(id_).key_id == id_,
    "keys": lambda c, id_: (found := c.keys()) and id_ in [each.key_id for each in found],
    "delete_key": lambda c, id_: c.delete_key(id_) is None,
}


@pytest.mark.parametrize("name", KEY_CALLS)
@pytest.mark.parametrize("phase", [Phase.WAITING])
def test_a_call_about_keys_that_was_cut_has_the_right_result(over: Wires, phase: Phase, name: str) -> None:
    key = over.direct.create_key("somebody")
    over.proxy.arm(phase, phase)
    assert KEY_CALLS[name](over.client, key.key_id)
    assert over.proxy.cuts == 2


def test_a_key_is_not_made_twice(over: Wires) -> None:
    before = len(over.direct.keys())
    over.proxy.arm(Phase.WAITING)
    with pytest.raises(errors.ConnectionLost):
        over.client.create_key("once")
    assert len(over.direct.keys()) == before + 1


def test_every_call_is_cut_somewhere() -> None:
    elsewhere = {"ingest", "ingest_many", "retry_failed", "download", "watch", "close", "stats"}
    once = {"create_webhook", "test_webhook", "create_key"}
    by_batch = {"batch", "batch_items", "wait_for_batch"}  # Looks like the others, at what a batch has made.
    cut = {name.partition(" ")[0] for name in [*LOOKS, *MOVES, *WEBHOOK_CALLS, *KEY_CALLS]}
    assert cut | elsewhere | once | by_batch == {name for name in dir(Sluice) if not name.startswith("_")}


INGESTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "text": lambda _: {"text": "A text."},
    "path": lambda path: {"path": path},
    "content": lambda _: {"content": b"# A file", "name": "a.md", "external_id": "a"},
    "pipe": lambda _: {"file": Pipe(b"What cannot be read twice.")},
    "large file": lambda path: {"file": io.BytesIO(path.read_bytes() * 3000), "name": "large.txt"},
}


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", INGESTS)
def test_what_is_ingested_over_a_cut_connection_is_there_once(
    over: Wires, tmp_path: Path, place: str, kind: str, phase: Phase
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"A file of {place}.")
    over.proxy.arm(phase, phase, after_bytes=300 if phase is Phase.SENDING else 40)
    taken = over.client.ingest(**INGESTS[kind](path), collection=place)

    assert over.proxy.cuts == 2
    assert taken.created  # Also where the answer that said so was lost.
    assert [each.document_id for each in over.direct.documents(collection=place)] == [taken.document_id]


@pytest.mark.parametrize("after_bytes", [40, 700, 1500])
@pytest.mark.parametrize("phase", PHASES)
def test_a_batch_that_was_cut_is_there_once_and_each_item_is_told_once(
    over: Wires, place: str, phase: Phase, after_bytes: int
) -> None:
    items = [Item(text=f"{place} {n}", collection=place) for n in range(30)]
    items += [Item(content=b"%d" % n, external_id=f"docs/{n}.md", collection=place) for n in range(30)]
    items += [Item(text=" ", collection=place)]
    over.proxy.arm(phase, phase, phase, after_bytes=after_bytes)
    outcomes = list(over.client.ingest_many(items))

    assert sorted(outcome.index for outcome in outcomes) == list(range(61))
    assert all(outcome.item is items[outcome.index] for outcome in outcomes)
    refused = [outcome for outcome in outcomes if outcome.error]
    assert [(outcome.index, type(outcome.error)) for outcome in refused] == [(60, errors.EmptyFile)]
    kept = {document.document_id for document in over.direct.documents(collection=place)}
    assert len(kept) == 60
    assert kept == {outcome.document_id for outcome in outcomes} - {None}


def test_an_answer_that_counts_is_not_asked_for_twice(
    client: Sluice, proxy: CuttingProxy, place: str
) -> None:
    proxy.arm(Phase.WAITING)
    with pytest.raises(errors.ConnectionLost):
        client.retry_failed(collection=place)
    assert client.retry_failed(collection=place).retried == 0


def test_what_is_cut_each_time_ends_as_connection_lost(
    client: Sluice, proxy: CuttingProxy, known: UUID
) -> None:
    proxy.arm(*[Phase.WAITING] * 4)
    with pytest.raises(errors.ConnectionLost, match=r"GET /documents/.* Server disconnected") as told:
        client.document(known)
    assert (told.value.document_id, told.value.retryable, proxy.cuts) == (known, True, 4)

    proxy.arm(*[Phase.ANSWERING] * 4)
    (outcome,) = client.ingest_many([Item(text="never", collection="cut")])
    assert isinstance(outcome.error, errors.ConnectionLost)


def test_who_is_not_there_is_said_to_be_away() -> None:
    with (
        Sluice("http://127.0.0.1:9", retries=Retries(wait_for_server=False)) as client,
        pytest.raises(errors.ServerUnreachable, match=r"No Sluice answers at http://127\.0\.0\.1:9: Conn"),
    ):
        client.health()


def test_a_change_of_somebody_else_is_no_answer_that_got_lost(
    client: Sluice, direct: Sluice, proxy: CuttingProxy, known: UUID
) -> None:
    etag = direct.document(known).etag
    direct.amend(known, title="Theirs")
    proxy.arm(Phase.WAITING)
    with pytest.raises(errors.PreconditionFailed) as told:
        client.amend(known, title="Mine", if_match=etag)
    assert told.value.status == 412
    with pytest.raises(errors.PreconditionFailed):
        client.delete(known, if_match=etag)
    assert direct.document(known).title == "Theirs"


def test_what_is_not_there_is_not_found_however_often_it_is_asked_for(client: Sluice, known: UUID) -> None:
    nobody = UUID(int=known.int ^ 1)
    for call in (client.document, client.cancel, client.delete, client.content):
        with pytest.raises(errors.DocumentNotFound) as told:
            call(nobody)
        assert (told.value.code, told.value.document_id) == ("document_not_found", nobody)
    with pytest.raises(errors.InvalidRequest) as invalid:
        client.search("")
    assert invalid.value.errors[0]["pointer"] == "/query"


def test_a_download_goes_on_where_it_broke(
    client: Sluice, direct: Sluice, proxy: CuttingProxy, tmp_path: Path, place: str
) -> None:
    content = b"".join(b"%d of many lines\n" % n for n in range(40_000))
    known = direct.ingest(content=content, name="lines.txt", collection=place).document_id
    proxy.arm(Phase.ANSWERING, Phase.ANSWERING, Phase.WAITING, Phase.CONNECTING, after_bytes=200_000)
    client.download(known, tmp_path / "lines.txt")
    assert (tmp_path / "lines.txt").read_bytes() == content
    assert proxy.cuts == 4
