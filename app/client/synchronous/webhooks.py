# Made from asynchronous/webhooks.py by `python -m app.client.making`: change that one.
"""The calls about webhooks, which `Sluice` has among the others."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from uuid import UUID

from app.client.answers import (
    Delivery,
    DeliveryPage,
    DeliveryStatus,
    Status,
    Webhook,
    WebhookCreated,
    WebhookList,
)
from app.client.calls import Call, json_body, listed
from app.client.errors import WebhookNotFound
from app.client.synchronous.connection import Connection
from app.client.unset import UNSET, Unset, said

ID = UUID | str


class Webhooks:
    """Who is told when documents are final, and what came of it."""

    _connection: Connection

    def create_webhook(
        self,
        url: str,
        *,
        statuses: Sequence[Status] | Status | None = None,
        collections: Sequence[str] | str | None = None,
        secret: str | None = None,
    ) -> WebhookCreated:
        """Have an address told when documents are final.

        What comes back has the secret that messages are signed with: keep it, it is never shown again. When
        the answer is lost, look whether there is one (`webhooks`) before you try it again.

        Args:
            url: Where messages are sent.
            statuses: COMPLETED, FAILED; None is both.
            collections: Of which; None is all.
            secret: `whsec_` and 24 to 64 bytes in base64; None has the server make one.
        """
        asked = {
            "url": url,
            "statuses": listed(statuses),
            "collections": listed(collections),
            "secret": secret,
        }
        call = Call(method="POST", path="/webhooks", body=json_body(asked), is_repeatable=False)
        return self._connection.get(WebhookCreated, call)

    def webhooks(self) -> list[Webhook]:
        """All of them, oldest first."""
        answer = self._connection.get(WebhookList, Call(method="GET", path="/webhooks"))
        return answer.webhooks

    def webhook(self, webhook_id: ID) -> Webhook:
        """A webhook, and whether it works."""
        return self._connection.get(Webhook, Call(method="GET", path=f"/webhooks/{webhook_id}"))

    def change_webhook(
        self,
        webhook_id: ID,
        *,
        url: str | Unset = UNSET,
        statuses: Sequence[Status] | Status | Unset | None = UNSET,
        collections: Sequence[str] | str | Unset | None = UNSET,
        secret: str | Unset = UNSET,
        enabled: bool | Unset = UNSET,
    ) -> Webhook:
        """Change a webhook, or switch it off and on; what is left out stays."""
        lists = said(statuses=statuses, collections=collections)
        changes = {
            **said(url=url, secret=secret, enabled=enabled),
            **{name: listed(given) for name, given in lists.items()},
        }
        call = Call(method="PATCH", path=f"/webhooks/{webhook_id}", body=json_body(changes))
        return self._connection.get(Webhook, call)

    def delete_webhook(self, webhook_id: ID) -> None:
        """Tell this address nothing any more.

        Raises:
            WebhookNotFound: There is none.
        """
        try:
            self._connection.send(Call(method="DELETE", path=f"/webhooks/{webhook_id}"))
        except WebhookNotFound as error:
            if not error.after_lost_answer:
                raise

    def test_webhook(self, webhook_id: ID) -> Delivery:
        """Send it a message that says nothing but that it arrived."""
        call = Call(method="POST", path=f"/webhooks/{webhook_id}/test", is_repeatable=False)
        return self._connection.get(Delivery, call)

    def deliveries(
        self,
        webhook_id: ID,
        *,
        status: Sequence[DeliveryStatus] | DeliveryStatus | None = None,
        page_size: int = 50,
    ) -> Generator[Delivery, None, None]:
        """What a webhook was told, newest first, with every attempt."""
        cursor = None
        while True:
            params = {"status": listed(status), "limit": page_size, "cursor": cursor}
            call = Call(method="GET", path=f"/webhooks/{webhook_id}/deliveries", params=params)
            page = self._connection.get(DeliveryPage, call)
            for delivery in page.deliveries:
                yield delivery
            cursor = page.next_cursor
            if cursor is None:
                return

    def replay_delivery(self, webhook_id: ID, delivery_id: ID) -> Delivery:
        """Send a message again, whatever came of it."""
        path = f"/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"
        return self._connection.get(Delivery, Call(method="POST", path=path))
