"""Whatever dies below `sluice up` comes back by itself, and nothing of what died is left; real processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.embedded.process import is_alive
from tests.processes import EmbeddingService
from tests.running import Running, ingest, ready, running, wait_until

SHORT = {"LEASE_S": "3", "BEAT_S": "0.5", "SWEEP_S": "0.5", "RETRY_BACKOFF_S": "0.2"}
NO_ORPHANS_AFTER_S = 10


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests of this module: each of them leaves it whole."""
    with running(tmp_path_factory.mktemp("data"), **SHORT) as started:
        yield started


class Family:
    """A program of ours: guard, process, and everything below, parser processes included."""

    def __init__(self, up: Running, word: str) -> None:
        self.guard = up.pid_of(word)
        below = up.descendants()
        self.members = {pid for pid in below if os.getsid(pid) == self.guard}
        (self.main,) = (pid for pid in self.members if up.parent_of(pid) == self.guard)
        self.fork_servers = {
            pid for pid in self.members if "forkserver" in below[pid] and self._leads(up, pid)
        }
        self.parsers = {pid for pid in self.members if up.parent_of(pid) in self.fork_servers}
        self.workers = {up.parent_of(pid) for pid in self.fork_servers}

    @staticmethod
    def _leads(up: Running, pid: int) -> bool:
        return "forkserver" not in up.descendants().get(up.parent_of(pid), "")

    @property
    def is_gone(self) -> bool:
        return not any(is_alive(pid) for pid in self.members)


def worker_family(up: Running) -> Family:
    """The worker's, with its parser processes."""
    found: list[Family] = []

    def is_whole() -> bool:
        try:
            found.append(Family(up, "dramatiq"))
        except (AssertionError, ValueError, OSError):
            return False  # It is just being started.
        return bool(found[-1].parsers)

    wait_until(is_whole)
    return found[-1]


def serves(up: Running, text: str) -> bool:
    """Whether a document that needs all of them, a parser too, is ingested."""
    return ingest(up, f"<p>{text}</p>")["status"] == "COMPLETED"


@pytest.mark.parametrize("victim", ["master", "worker", "guard"])
def test_a_worker_of_which_a_part_is_killed_goes_whole_and_comes_back(up: Running, victim: str) -> None:
    assert serves(up, f"The heron stands on the gate before {victim} dies.")
    family = worker_family(up)
    assert len(family.members) >= 5  # Guard, master, worker, fork server, a parser.
    (worker,) = family.workers
    os.kill({"master": family.main, "worker": worker, "guard": family.guard}[victim], signal.SIGKILL)

    wait_until(lambda: family.is_gone, timeout_s=NO_ORPHANS_AFTER_S + 25 * (victim == "worker"))
    assert serves(up, f"The heron stands on the gate after {victim} died.")


@pytest.mark.parametrize("victim", ["fork server", "parser"])
def test_parser_processes_that_are_killed_are_replaced_in_place(up: Running, victim: str) -> None:
    assert serves(up, f"Tallow for the rack before {victim} dies.")
    family = worker_family(up)
    killed = family.fork_servers if victim == "fork server" else family.parsers
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not any(is_alive(pid) for pid in family.parsers), timeout_s=NO_ORPHANS_AFTER_S)
    assert serves(up, f"Tallow for the rack after {victim} died.")
    assert is_alive(family.main)


@pytest.mark.parametrize("victim", ["process", "guard"])
def test_an_api_that_is_killed_comes_back(up: Running, victim: str) -> None:
    family = Family(up, "uvicorn")
    os.kill(family.main if victim == "process" else family.guard, signal.SIGKILL)

    wait_until(lambda: family.is_gone, timeout_s=NO_ORPHANS_AFTER_S)
    wait_until(lambda: ready(up))
    assert serves(up, f"The lock keeper's key after the {victim} died.")


def test_servers_that_are_killed_come_back_and_leave_no_process(up: Running) -> None:
    servers = {up.pid_of(word) for word in ("bin/postgres", "valkey-server")}
    members = {pid for pid in up.descendants() if os.getsid(pid) in servers}
    for server in servers:
        os.kill(server, signal.SIGKILL)

    wait_until(lambda: not any(is_alive(pid) for pid in members), timeout_s=NO_ORPHANS_AFTER_S)
    wait_until(lambda: ready(up))
    assert serves(up, "The swan has five cygnets.")


def test_killing_it_leaves_no_process_at_any_depth(tmp_path: Path) -> None:
    with running(tmp_path, **SHORT) as up:
        assert serves(up, "The swing bridge stays closed.")
        assert worker_family(up).parsers
        pids = list(up.descendants())
        up.process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), timeout_s=NO_ORPHANS_AFTER_S)


def test_it_stops_the_api_then_the_workers_then_the_servers_and_hands_back_what_is_in_hand(
    tmp_path: Path,
) -> None:
    with (
        EmbeddingService().serving() as service,
        running(tmp_path, **SHORT, **service.environment) as up,
    ):
        assert serves(up, "The lower gate opens when the chamber is full.")
        parts = {name: up.pid_of(word) for name, word in PARTS.items()}
        with service.holding_back():
            text = {"text": "In hand when the order comes."}
            location = httpx.post(f"{up.url}/ingest", json=text, trust_env=False).headers["location"]
            with waiting_for(up, location) as waiting:
                wait_until(lambda: service.under_way > 0)
                up.process.send_signal(signal.SIGTERM)
                order: list[str] = []
                while len(order) < len(parts):
                    order += [name for name, pid in parts.items() if name not in order and not is_alive(pid)]
                answer = waiting.recv(65536)
            assert up.process.wait(40) == 0

        assert order == ["API", "worker", "Valkey", "PostgreSQL"]
        # Who waited has been answered, and the document went back at no cost: one attempt more, no failure.
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"PROCESSING"' in answer
        assert "document_handed_back" in (tmp_path / "logs" / "worker.log").read_text()
        with running(tmp_path, **SHORT, **service.environment) as again:
            found = httpx.get(f"{again.url}{location}?wait=60", timeout=90, trust_env=False).json()
    assert (found["status"], found["attempt"], found["failures"]) == ("COMPLETED", 2, 0)


@contextmanager
def waiting_for(up: Running, location: str) -> Iterator[socket.socket]:
    """A connection on which the API has begun to wait for the document's end."""
    with socket.create_connection(("127.0.0.1", up.port), timeout=30) as connection:
        connection.sendall(
            f"GET {location}?wait=60 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
            f"content-length: 0\r\n\r\n".encode()
        )
        assert b" 100 " in connection.recv(1024)  # It sends this when it looks for the body.
        yield connection


PARTS = {"API": "uvicorn", "worker": "dramatiq", "Valkey": "valkey-server", "PostgreSQL": "bin/postgres"}
