"""The life of a worker process: opens everything once, on the loop that runs the actors, and closes it."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import cache, partial
from types import FrameType
from typing import Any, NoReturn

import structlog
import uvloop
from dramatiq import Broker, Middleware, Worker
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

from app.core.config import Settings
from app.core.database import connect
from app.core.logging import configure_logging
from app.core.process import last_words
from app.errors import StartupError
from app.jobs.reconciler import Reconciler
from app.schemas.webhook import message_body
from app.services.housekeeping import (
    keep_collections,
    keep_counted,
    keep_house,
    keep_indexed,
    read_words_anew,
)
from app.services.presence import LIFELINE_TIMEOUT_S, seen_alive
from app.services.reembedding import Reembedding
from app.services.resources import WorkerResources, open_worker

log = structlog.get_logger(__name__)

PR_SET_PDEATHSIG = 1

#: What goes on for as long as the worker does.
Chore = Coroutine[None, None, None]

_resources: WorkerResources | None = None


def worker_name() -> str:
    """Names this process, and no other one ever, in leases and logs: `host:pid:nonce`.

    In a container that is started again, the same programs have the same process ids.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{_nonce(os.getpid())}"


@cache
def _nonce(pid: int) -> str:  # noqa: ARG001 - A process that is forked has one of its own.
    return secrets.token_hex(3)


def worker_resources() -> WorkerResources:
    """What `WorkerLifecycle` opened.

    Raises:
        RuntimeError: This is no worker process, or it has stopped.
    """
    if _resources is None:
        raise RuntimeError("The worker's resources are not open; actors run in worker processes.")
    return _resources


class WorkerLifecycle(Middleware):
    """Opens and closes the worker's resources, and runs the reconciler and chores beside its actors."""

    def __init__(
        self, settings: Settings, reconciler: Reconciler, chores: Mapping[str, Callable[[], Chore]]
    ) -> None:
        self.settings = settings
        self.reconciler = reconciler
        self.chores = chores
        self._open_things = AsyncExitStack()

    def after_process_boot(self, broker: Broker) -> None:  # noqa: ARG002
        configure_logging(self.settings.LOG_LEVEL, self.settings.LOG_FORMAT)
        os.nice(self.settings.WORKER_NICENESS)  # Whoever searches meanwhile waits for an answer.
        asyncio.set_event_loop_policy(
            uvloop.EventLoopPolicy()
        )  # The AsyncIO middleware makes its loop by it.
        _die_with_parent()
        _stop_once()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        try:
            _loop().run_coroutine(self._open())
        except StartupError as error:
            self._give_up(str(error))
        except Exception:
            log.exception("worker_boot_failed")
            self._give_up("It could not start; the traceback above says why.")

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        # Not waited for: Dramatiq goes on to stop its threads, and they end as their documents do.
        asyncio.run_coroutine_threadsafe(self._drain(), _loop().loop)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        _loop().run_coroutine(self._close())
        log.info("worker_stopped", worker=worker_name())

    @staticmethod
    def _give_up(reason: str) -> NoReturn:
        # Dramatiq swallows any other exception of a boot hook and goes on with a worker that can do nothing.
        # Its master waits 30 s for one that ends in another way, and a thread left running would keep us.
        code = last_words("worker", reason)
        loop = get_event_loop_thread()
        if loop is None:
            os._exit(code)  # It did not start in time, on a starved machine, and may be about to.
        loop.stop()  # type: ignore[no-untyped-call]
        sys.exit(code)

    async def _open(self) -> None:
        global _resources  # noqa: PLW0603 - one worker per process, and actors have no other way to it.
        _resources = await self._open_things.enter_async_context(
            open_worker(self.settings, webhook_body=message_body)
        )
        self.reconciler.start()
        self._open_things.push_async_callback(self.reconciler.close)
        await self._open_things.enter_async_context(
            seen_alive(
                worker_name(),
                partial(connect, self.settings, timeout_s=LIFELINE_TIMEOUT_S),
                every_s=self.settings.BEAT_S,
                for_s=self.settings.LEASE_S,
            )
        )
        for name, chore in {
            "housekeeping": keep_house(_resources.store, events_kept_h=self.settings.EVENTS_KEPT_H),
            "progress": _resources.progress.run(),
            "collections": keep_collections(_resources.store, self.settings.SWEEP_S),
            "indexing": keep_indexed(
                partial(connect, self.settings),
                memory_mb=self.settings.INDEX_MEMORY_MB,
                every_s=self.settings.SWEEP_S,
                stored=_resources.together.stored,
            ),
            "counting": keep_counted(every_s=self.settings.SWEEP_S, stored=_resources.together.stored),
            "reading": read_words_anew(self.settings.SWEEP_S),
            "reembedding": Reembedding(_resources.embedders, every_s=self.settings.SWEEP_S).run(),
            **{name: chore() for name, chore in self.chores.items()},
        }.items():
            running = asyncio.create_task(chore, name=name)
            running.add_done_callback(_told_of_end)
            self._open_things.callback(running.cancel)
        log.info("worker_started", worker=worker_name(), model=_resources.embedders.default.embedder.model)

    async def _drain(self) -> None:
        self.reconciler.stop()  # It would send us what we hand back.
        await worker_resources().leases.drain(self.settings.SHUTDOWN_GRACE_S)

    async def _close(self) -> None:
        global _resources  # noqa: PLW0603
        _resources = None
        await self._open_things.aclose()


def _told_of_end(chore: asyncio.Task[None]) -> None:
    """Nobody waits for a chore: what it failed with would be lost."""
    if not chore.cancelled() and chore.exception() is not None:
        log.error("chore_ended", chore=chore.get_name(), exc_info=chore.exception())


def _loop() -> EventLoopThread:
    loop = get_event_loop_thread()
    if loop is None:
        raise RuntimeError("The AsyncIO middleware has to come before this one.")
    return loop


def _stop_once() -> None:
    """Let a second signal to stop change nothing: some service managers signal all of the group, master too.

    Dramatiq would end its main thread at once and leave the others, with their documents, to run for ever.
    """
    # A signal may come in the middle of this handler, too; taking the one is a step that none divides.
    stops: Iterator[Any] = iter((signal.getsignal(signal.SIGTERM),))

    def handle(number: int, frame: FrameType | None) -> None:
        if (stop := next(stops, None)) is not None:
            stop(number, frame)

    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, handle)


def _die_with_parent() -> None:
    """Be killed when Dramatiq's master is: it would leave us running, with nobody to stop us.

    Killed, not asked to stop: our log goes through the master, and Dramatiq's own way of stopping ends
    half-way when it cannot write. What we hold is taken over like any dead worker's.
    """
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    master = multiprocessing.parent_process()
    if master is not None and master.pid != os.getppid():
        os.kill(os.getpid(), signal.SIGKILL)  # It died before we asked.
