"""What the faults change inside a process, from outside: no switch of the application knows of it.

`tests.chaos.tampered_worker` and `tests.chaos.tampered_api` are started in place of the modules of the
application; they apply what CHAOS_TAMPER names, and then are those modules.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def slow_embedder() -> None:
    """Every call takes CHAOS_EMBED_S longer, as with one elsewhere: documents stay in hand for a while."""
    from app.embedding.hash import HashEmbedder

    pause_s, embed = float(os.environ["CHAOS_EMBED_S"]), HashEmbedder.embed

    async def slow(self: HashEmbedder, *arguments: Any) -> Any:
        await asyncio.sleep(pause_s)
        return await embed(self, *arguments)

    HashEmbedder.embed = slow  # type: ignore[method-assign]
    HashEmbedder.computes_here = False  # It only waits: a worker takes as many in hand as ever.


def failing_embedder() -> None:
    """While the file `failing` is in CHAOS_FOLDER, the embedder is out of reach."""
    from app.embedding.hash import HashEmbedder
    from app.errors import EmbedderUnavailable

    file, embed = Path(os.environ["CHAOS_FOLDER"]) / "failing", HashEmbedder.embed

    async def failing(self: HashEmbedder, *arguments: Any) -> Any:
        if file.exists():
            raise EmbedderUnavailable("chaos")
        return await embed(self, *arguments)

    HashEmbedder.embed = failing  # type: ignore[method-assign]


def death_before_send() -> None:
    """Every CHAOS_DIE_EVERY-th time that the process would send a message, it is killed instead.

    What it would have sent is added to the file `deaths` in CHAOS_FOLDER.
    """
    from app.core.queue import broker

    every, deaths, enqueue = (
        int(os.environ["CHAOS_DIE_EVERY"]),
        Path(os.environ["CHAOS_FOLDER"]) / "deaths",
        broker.enqueue,
    )
    sends = 0

    def die(message: Any, **options: Any) -> Any:
        nonlocal sends
        sends += 1
        if sends % every == 0:
            with deaths.open("a") as file:
                file.write(f"{message.args[0]}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return enqueue(message, **options)

    broker.enqueue = die  # type: ignore[method-assign]


def every_message_three_times() -> None:
    """Whatever is sent is sent thrice."""
    from app.core.queue import broker

    enqueue = broker.enqueue

    def thrice(message: Any, **options: Any) -> Any:
        for _ in range(2):
            enqueue(message, **options)
        return enqueue(message, **options)

    broker.enqueue = thrice  # type: ignore[method-assign]


def no_fence() -> None:
    """Moves of a worker ask no more whether the attempt is still its own, and no beat finds a lease lost."""
    from app.models import completion
    from app.models.document import Document

    move, beat = Document._move.__func__, Document.beat  # type: ignore[attr-defined]

    async def unfenced(cls: type[Document], *arguments: Any, attempt: int | None = None, **more: Any) -> Any:
        del attempt
        return await move(cls, *arguments, **more)

    async def content(connection: Any, held: Any, **more: Any) -> Any:
        await beat(connection, held, **more)
        return {(document.id, document.attempt) for document in held}

    completion.FENCE = "TRUE"
    Document._move = classmethod(unfenced)  # type: ignore[assignment]
    Document.beat = staticmethod(content)  # type: ignore[method-assign]


def no_reconciler() -> None:
    """Nobody sweeps."""
    from app.jobs.reconciler import Reconciler

    async def idle(self: Reconciler) -> bool:
        return False

    Reconciler.sweep = idle  # type: ignore[method-assign]


TAMPERING: Mapping[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        slow_embedder,
        failing_embedder,
        death_before_send,
        every_message_three_times,
        no_fence,
        no_reconciler,
    )
}


def tamper() -> None:
    """Do what CHAOS_TAMPER names, separated by commas."""
    for name in os.environ["CHAOS_TAMPER"].split(","):
        TAMPERING[name]()
