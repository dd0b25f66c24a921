"""A proxy that cuts connections: before a request, during it, before its answer, in the middle of that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum


class Phase(StrEnum):
    """When a connection is cut."""

    CONNECTING = "before the request"
    SENDING = "during the request"
    WAITING = "before the answer"
    ANSWERING = "in the middle of the answer"


class CuttingProxy:
    """Passes connections on to a server; each time it is armed, the next one is cut in that phase.

    A request or an answer is cut after some bytes of it, and then reset or closed; the server has the whole
    request in WAITING and ANSWERING, and carries it out.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._armed: list[tuple[Phase, int]] = []
        self.cuts = 0
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def arm(self, *phases: Phase, after_bytes: int = 40) -> None:
        """Cut the next connections so, one each; those that are open are closed."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._armed = [(phase, after_bytes) for phase in phases]
        self.cuts = 0

    @contextmanager
    def serving(self) -> Iterator[CuttingProxy]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # Closed: no more.
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        phase, after_bytes = self._armed.pop(0) if self._armed else (None, 0)
        if phase is not None:
            self.cuts += 1
        with client:
            if phase is Phase.CONNECTING:
                return
            self._open.add(client)
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                answering = threading.Thread(
                    target=self._pass, args=(server, client, phase, after_bytes, True), daemon=True
                )
                answering.start()
                self._pass(client, server, phase, after_bytes, is_answer=False)
                answering.join()
            self._open.discard(client)

    def _pass(
        self, source: socket.socket, target: socket.socket, phase: Phase | None, limit: int, is_answer: bool
    ) -> None:
        passed = 0
        with suppress(OSError):
            while block := source.recv(65536):
                if is_answer and phase is Phase.WAITING:
                    break
                is_cut = phase is (Phase.ANSWERING if is_answer else Phase.SENDING)
                target.sendall(block[: limit - passed] if is_cut else block)
                passed += len(block)
                if is_cut and passed >= limit:
                    break
        for end in (source, target):  # Wakes the other direction, too.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
