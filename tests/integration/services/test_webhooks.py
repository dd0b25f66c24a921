"""Webhooks against a real PostgreSQL and a real receiver: what is told, signed, tried again, and refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.core.config import Settings
from app.core.database import database
from app.errors import AddressRefused, NoText, TooManyWebhooks
from app.models import acceptance, watch, webhook, webhook_delivery
from app.models.acceptance import NewDocument
from app.models.document import Document
from app.models.document_status import DocumentStatus
from app.models.sql import fetch
from app.models.webhook import Webhook
from app.models.webhook_delivery import BACKOFF_S, Claimed, Delivery, DeliveryStatus, Outcome
from app.schemas.webhook import message_body
from app.services import webhook_sender
from app.services.webhook_sender import WebhookSender, check_host, key_of, new_secret, signature
from app.services.webhook_service import MOST_TO_ONE, WebhookService
from tests.support import emptied_database

SECRET = new_secret()


@pytest.fixture(autouse=True)
async def opened(settings: Settings, migrated: None) -> AsyncIterator[None]:
    async with database(settings):
        await emptied_database()
        yield


class Receiver(ThreadingHTTPServer):
    """Answers as it is told, and remembers what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.let_go = threading.Event()
        self.let_go.set()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        receiver.let_go.wait(10)
        self.send_response(receiver.status)
        self.send_header("location", receiver.url)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True).start()
    yield receiver
    receiver.let_go.set()
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture
async def service() -> AsyncIterator[WebhookService]:
    async with (
        WebhookSender(to_private=True) as sender,
        WebhookService(sender, message_body) as service,
    ):
        yield service


async def hooked(
    url: str, *, statuses: list[DocumentStatus] | None = None, collections: list[str] | None = None
) -> Webhook:
    return await Webhook.create(url=url, secret=SECRET, statuses=statuses, collections=collections)


async def ended(number: int = 0, *, collection: str = "default") -> UUID:
    """A document that has failed."""
    new = NewDocument(
        sha256=f"{number:064d}", size_bytes=1, media_type="text/plain", content=b"x", collection=collection
    )
    document = await Document.claim((await acceptance.accept(new)).document_id, owner="a", lease_s=30)
    assert document is not None
    assert await document.fail(NoText())
    return document.id


async def deliveries(hook: Webhook) -> list[Delivery]:
    return await Delivery.listed(hook.id, statuses=None, after=None, limit=100)


async def the_delivery(hook: Webhook) -> Delivery:
    (delivery,) = await deliveries(hook)
    return delivery


async def made(service: WebhookService, hook: Webhook) -> Delivery:
    """Begin the webhook's one delivery, now, and wait for what comes of it."""
    await fetch("UPDATE webhook_deliveries SET next_attempt_at = now() RETURNING id")
    before = await the_delivery(hook)
    await service.take_due()
    async with asyncio.timeout(10):
        while len((after := await the_delivery(hook)).attempts) == len(before.attempts):
            await asyncio.sleep(0.01)
    return after


# --- what is told ------------------------------------------------------------------------------------------


async def test_a_final_document_is_told_to_those_who_asked_with_a_signature_that_is_right(
    receiver: Receiver, service: WebhookService
) -> None:
    hook = await hooked(receiver.url, statuses=[DocumentStatus.FAILED], collections=["a"])
    others = [
        await hooked(receiver.url, statuses=[DocumentStatus.COMPLETED]),
        await hooked(receiver.url, collections=["b"]),
    ]
    document_id = await ended(collection="a")

    delivery = await made(service, hook)

    assert [await deliveries(other) for other in others] == [[], []]
    ((headers, body),) = receiver.got
    # As docs/webhooks.md has it.
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    message = json.loads(body)
    assert message["type"] == "document.failed"
    assert message["data"]["document_id"] == str(document_id)
    assert (message["data"]["status"], message["data"]["error"]["code"]) == ("FAILED", "no_text")
    assert (delivery.status, headers["webhook-id"]) == (DeliveryStatus.DELIVERED, str(delivery.id))
    assert [attempt["status_code"] for attempt in delivery.attempts] == [200]


async def test_without_webhooks_nothing_is_written_and_an_end_that_is_undone_is_not_told() -> None:
    await ended()
    hook = await hooked("https://example.org/")
    await ended(1)
    await fetch("SELECT 1")
    assert len(await deliveries(hook)) == 1
    assert await fetch("SELECT FROM webhook_deliveries WHERE webhook_id <> $1", hook.id) == []


async def test_what_fails_is_tried_again_later_and_later_until_it_is_given_up_and_can_be_replayed(
    receiver: Receiver, service: WebhookService
) -> None:
    hook = await hooked(receiver.url)
    await ended()
    receiver.status = 500
    for number, wait_s in enumerate(BACKOFF_S, 1):
        delivery = await made(service, hook)
        assert (delivery.status, delivery.failures) == (DeliveryStatus.PENDING, number)
        rows = await fetch(
            "SELECT extract(epoch FROM next_attempt_at - now())::float8 AS s FROM webhook_deliveries"
        )
        assert wait_s * 0.89 - 1 < rows[0]["s"] < wait_s * 1.11
    await service.take_due()  # Not due: nothing happens.
    receiver.status = 302
    delivery = await made(service, hook)

    assert (delivery.status, len(delivery.attempts)) == (DeliveryStatus.FAILED, len(BACKOFF_S) + 1)
    assert delivery.attempts[-1]["error"] == "It answered 302; redirects are not followed."
    assert (await Webhook.get(hook.id)).failures == len(BACKOFF_S) + 1

    receiver.status = 204
    await Delivery.replay(hook.id, delivery.id)
    delivery = await made(service, hook)
    assert delivery.status == DeliveryStatus.DELIVERED
    assert (await Webhook.get(hook.id)).failing_since is None
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


async def taken() -> list[Claimed]:
    """What a worker would take that has nothing in hand."""
    return await Delivery.claim_due(limit=10, to_one=10, in_hand={})


async def test_a_delivery_whose_worker_was_lost_is_found_again(
    receiver: Receiver, service: WebhookService
) -> None:
    hook = await hooked(receiver.url)
    await ended()
    (claimed,) = await taken()
    assert SECRET not in repr(claimed)
    assert await taken() == []
    assert await webhook_delivery.reap(limit=10) == 0
    await fetch("UPDATE webhook_deliveries SET lease_expires_at = now() RETURNING id")
    assert await webhook_delivery.reap(limit=10) == 1
    delivery = await made(service, hook)
    assert delivery.status == DeliveryStatus.DELIVERED
    # The one who was thought dead can write nothing.
    assert not await claimed.delivery.settle(Outcome(seconds=1, error="It did not answer."))


async def test_a_webhook_that_fails_for_days_is_disabled_says_why_and_can_be_enabled_again(
    receiver: Receiver, service: WebhookService
) -> None:
    hook = await hooked(receiver.url)
    await ended()
    receiver.status = 503
    await made(service, hook)
    await fetch("UPDATE webhooks SET failures = 19, failing_since = now() - interval '4 days' RETURNING id")
    await made(service, hook)

    disabled = await Webhook.get(hook.id)
    assert (
        disabled.disabled_reason == "20 attempts in more than 3 days have failed. The last: It answered 503."
    )
    assert await taken() == []
    await ended(1)
    assert len(await deliveries(hook)) == 1

    enabled = await Webhook.change(hook.id, {"is_enabled": True})
    assert (enabled.failures, enabled.failing_since, enabled.disabled_reason) == (0, None, None)
    receiver.status = 410
    await made(service, hook)
    assert "gone" in str((await Webhook.get(hook.id)).disabled_reason)


async def test_a_slow_receiver_has_a_few_at_a_time_and_keeps_nobody_else_up(
    receiver: Receiver, service: WebhookService
) -> None:
    slow = await hooked(receiver.url)
    receiver.let_go.clear()
    for number in range(MOST_TO_ONE + 2):
        await ended(number)
    assert await service.take_due()  # There may be more that there is no room for.
    assert await service.take_due()
    await wait_for(lambda: len(receiver.got) == MOST_TO_ONE)
    statuses = sorted(each.status for each in await deliveries(slow))
    assert statuses == ["PENDING"] * 2 + ["SENDING"] * MOST_TO_ONE
    # What waits for a slow receiver goes on being due, for `/metrics` to tell.
    assert (await watch.deliveries()).due == 2

    quick = await hooked(receiver.url)
    await Delivery.test(quick.id)
    await service.take_due()
    await wait_for(lambda: len(receiver.got) == MOST_TO_ONE + 1)

    receiver.let_go.set()
    async with asyncio.timeout(10):
        while await service.take_due():
            await service.any_ended(10)
    await wait_for(lambda: len(receiver.got) == MOST_TO_ONE + 3)


async def test_whoever_waits_longest_comes_first_and_no_process_takes_more_than_it_may(
    service: WebhookService,
) -> None:
    hooks = [await hooked("https://example.org/") for _ in range(3)]
    for number, hook in enumerate([*hooks, *hooks]):
        await Delivery.test(hook.id)
        await fetch(
            "UPDATE webhook_deliveries SET next_attempt_at = now() - interval '1 hour' * $1"
            " WHERE next_attempt_at > now() - interval '1 minute' RETURNING id",
            6 - number,
        )
    claimed = await Delivery.claim_due(limit=3, to_one=2, in_hand={hooks[0].id: 1, hooks[1].id: 2})

    assert sorted(each.delivery.webhook_id for each in claimed) == sorted(
        [hooks[0].id, hooks[2].id, hooks[2].id]
    )
    assert await Delivery.claim_due(limit=0, to_one=2, in_hand={}) == []


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_webhook_that_is_deleted_takes_its_deliveries_along_and_keeps_no_document_up() -> None:
    hook = await hooked("https://example.org/")
    await ended()
    await Webhook.remove(hook.id)
    assert await deliveries(hook) == []
    # One that came beside the deletion belongs to nobody.
    await fetch("INSERT INTO webhook_deliveries (webhook_id) VALUES ($1) RETURNING id", uuid4())
    assert await taken() == []
    assert await webhook_delivery.forget(older_than_s=3600, limit=10) == 1


async def test_there_are_so_many_webhooks_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MOST", 2)
    for _ in range(2):
        await hooked("https://example.org/")
    with pytest.raises(TooManyWebhooks):
        await hooked("https://example.org/")


# --- what is refused ---------------------------------------------------------------------------------------


async def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WebhookSender(to_private=False) as sender:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            outcome = await sender.send(
                receiver.url.replace("127.0.0.1", host), secret=SECRET, message_id="m", body=b"{}"
            )
            assert "is no public address" in str(outcome.error)
            assert outcome.status_code is None
    assert receiver.got == []


async def test_a_name_server_that_says_nothing_keeps_nobody_else_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, answers, asked = socket.getaddrinfo, threading.Event(), []

    def silent(host: str, *rest: Any, **named: Any) -> Any:
        if host == "silent.example":
            asked.append(host)
            answers.wait(20)
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(webhook_sender, "TIMEOUT_S", 0.3)
    try:
        async with WebhookSender(to_private=True) as sender:
            send = partial(sender.send, secret=SECRET, message_id="m", body=b"{}")
            outcomes = await asyncio.gather(*(send("http://silent.example/") for _ in range(40)))
            monkeypatch.setattr(webhook_sender, "TIMEOUT_S", 10)
            other = await send(receiver.url.replace("127.0.0.1", "localhost"))
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    finally:
        answers.set()
    assert {outcome.error for outcome in outcomes} == {"It did not answer within 0.3 s."}
    assert asked == ["silent.example"]
    assert other.error is None


async def test_a_name_that_cannot_be_one_is_a_failure_like_others() -> None:
    async with WebhookSender(to_private=True) as sender:
        for host in ("hooks..example.org", "a" * 64 + ".example.org"):
            outcome = await sender.send(f"http://{host}/", secret=SECRET, message_id="m", body=b"{}")
            assert "The connection failed" in str(outcome.error)


async def test_what_cannot_even_be_made_counts_as_a_failure_and_is_not_tried_for_ever(
    receiver: Receiver,
) -> None:
    def broken(_: Delivery) -> bytes:
        raise ValueError("no body")

    hook = await hooked(receiver.url)
    await ended()
    async with WebhookSender(to_private=True) as sender, WebhookService(sender, broken) as service:
        delivery = await made(service, hook)
    assert delivery.failures == 1
    assert [attempt["error"] for attempt in delivery.attempts] == ["It could not be sent: ValueError."]


async def test_who_does_not_answer_and_who_is_not_there_are_told_apart(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "TIMEOUT_S", 0.2)
    receiver.let_go.clear()
    async with WebhookSender(to_private=True) as sender:
        silent = await sender.send(receiver.url, secret=SECRET, message_id="m", body=b"{}")
        nobody = await sender.send("http://127.0.0.1:1/", secret=SECRET, message_id="m", body=b"{}")
        nowhere = await sender.send("http://sluice.invalid/", secret=SECRET, message_id="m", body=b"{}")
    assert silent.error == "It did not answer within 0.2 s."
    assert "The connection failed" in str(nobody.error)
    assert "The connection failed" in str(nowhere.error)
    assert SECRET not in f"{silent}{nobody}{nowhere}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
    ],
)
async def test_addresses_that_are_not_public_are_refused_at_once(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_host(host)


async def test_public_addresses_and_names_are_not() -> None:
    for host in ("93.184.216.34", "2606:2800:220:1::", "example.org", "64:ff9b::5db8:d822"):
        check_host(host)


async def test_a_signature_is_that_of_the_standard() -> None:
    # The example of Standard Webhooks' own test suite.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature(
        secret,
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_###", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
async def test_what_is_no_secret_of_the_standard_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|bytes|base64"):
        key_of(secret)
