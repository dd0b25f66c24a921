"""Real servers on a temporary folder: what they keep, what they refuse, and that they never outlive us."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.embedded import EmbeddedPostgres, EmbeddedValkey, FolderInUse, FolderLock, free_port
from app.embedded.binaries import postgres_install
from app.embedded.process import is_alive
from app.errors import StartupError

FAST = {"fsync": "off"}
ROOT = Path(__file__).parents[3]
PARENT = """
import sys, time
from pathlib import Path
from app.embedded import EmbeddedPostgres, EmbeddedValkey

folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
with postgres, EmbeddedValkey(folder / "vk") as valkey:
    print(postgres.pid, valkey.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose cluster exists already."""
    folder = tmp_path_factory.mktemp("made") / "pg"
    with EmbeddedPostgres(folder, settings=FAST):
        pass
    return folder


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Another Python process that serves `tmp_path`, and the pids of its servers."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            pids = [int(word) for word in process.stdout.readline().split()]
            assert len(pids) == 2
            yield process, pids
        finally:
            process.kill()


def execute(url: str, *statements: str) -> object:
    """Run statements over one connection; the first value of the last one."""

    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            values = [await connection.fetchval(statement) for statement in statements]
        finally:
            await connection.close()
        return values[-1]

    return asyncio.run(run())


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in pids)


# --- PostgreSQL ---------------------------------------------------------------------------------------------


def test_a_second_start_finds_the_rows_of_the_first(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, settings=FAST) as postgres:
        execute(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(tmp_path, settings=FAST) as postgres:
        assert execute(postgres.url, "SELECT answer FROM kept") == 42


def test_pgvector_and_utf8_are_there(made_data: Path) -> None:
    with EmbeddedPostgres(made_data, settings=FAST) as postgres:
        near = execute(
            postgres.url, "CREATE EXTENSION IF NOT EXISTS vector", "SELECT '[1,2]'::vector <-> '[1,4]'"
        )
        assert near == 2
        assert execute(postgres.url, "SELECT lower('ÄÖÉ')") == "äöé"


def test_the_bundled_psql_takes_the_same_url(made_data: Path) -> None:
    psql = postgres_install()[0] / "bin" / "psql"
    with EmbeddedPostgres(made_data, settings=FAST) as postgres:
        answer = subprocess.run(
            [psql, postgres.url, "-Atc", "SELECT current_database()"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert answer.stdout.strip() == "sluice"


def test_a_wrong_password_is_refused(made_data: Path) -> None:
    with EmbeddedPostgres(made_data, settings=FAST) as postgres:
        stranger = f"postgres://sluice:guess@127.0.0.1:{postgres.port}/sluice"
        with pytest.raises(asyncpg.InvalidPasswordError):
            execute(stranger, "SELECT 1")


def test_it_listens_on_the_loopback_interface_only(made_data: Path) -> None:
    with EmbeddedPostgres(made_data, settings=FAST) as postgres:
        assert execute(postgres.url, "SHOW listen_addresses") == "127.0.0.1"
        assert execute(postgres.url, "SHOW unix_socket_directories") == ""


def test_it_takes_the_port_it_is_given(made_data: Path) -> None:
    port = free_port()
    with EmbeddedPostgres(made_data, port, settings=FAST) as postgres:
        assert f":{port}/" in postgres.url
        assert execute(postgres.url, "SELECT inet_server_port()") == port


def test_the_password_is_for_its_owner_only(made_data: Path) -> None:
    assert stat.S_IMODE((made_data / "postgres.password").stat().st_mode) == 0o600


def test_a_second_server_on_the_folder_is_refused_and_names_the_pid(made_data: Path) -> None:
    with EmbeddedPostgres(made_data, settings=FAST):
        with pytest.raises(FolderInUse) as refusal:
            EmbeddedPostgres(made_data, settings=FAST).start()
        assert refusal.value.pid == os.getpid()
        assert str(os.getpid()) in str(refusal.value)


def test_a_server_killed_with_its_shutdown_undone_is_recovered(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path).start()
    execute(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    wait_until(lambda: not postgres.is_running)
    postgres.stop()
    assert (tmp_path / "cluster" / "postmaster.pid").exists()
    with EmbeddedPostgres(tmp_path, settings=FAST) as recovered:
        assert execute(recovered.url, "SELECT answer FROM kept") == 42


def test_a_pid_file_whose_number_belongs_to_somebody_else_now_is_cleared_away(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, settings=FAST):
        pid_file = tmp_path / "cluster" / "postmaster.pid"
        left = pid_file.read_text().split("\n", 1)[1]
    pid_file.write_text(f"{os.getpid()}\n{left}")
    with EmbeddedPostgres(tmp_path, settings=FAST) as postgres:
        assert execute(postgres.url, "SELECT 1") == 1


def test_a_folder_of_another_major_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("13\n")
    with pytest.raises(StartupError, match=r"written by PostgreSQL 13, and this Sluice brings \d+"):
        EmbeddedPostgres(tmp_path).start()


def test_what_a_killed_initdb_left_is_cleared_away(tmp_path: Path) -> None:
    half_made = tmp_path / "cluster.new-killed"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, settings=FAST) as postgres:
        assert execute(postgres.url, "SELECT 1") == 1
    assert not half_made.exists()


def test_a_bad_setting_is_told_with_the_reason_of_the_log(made_data: Path) -> None:
    with pytest.raises(StartupError, match=r"PostgreSQL did not start: .*shared_buffers"):
        EmbeddedPostgres(made_data, settings={"shared_buffers": "plenty"}).start()
    with EmbeddedPostgres(made_data, settings=FAST) as postgres:
        assert postgres.is_running


def test_a_taken_port_is_told_and_the_lock_is_given_back(made_data: Path) -> None:
    with EmbeddedValkey(made_data.parent / "vk") as other:
        with pytest.raises(StartupError, match="PostgreSQL did not start"):
            EmbeddedPostgres(made_data, other.port, settings=FAST).start()
        assert FolderLock(made_data).holder() is None


def test_a_server_started_in_a_thread_outlives_the_thread(made_data: Path) -> None:
    postgres = EmbeddedPostgres(made_data, settings=FAST)
    thread = threading.Thread(target=postgres.start)
    thread.start()
    thread.join()
    try:
        # The kernel's signal would come at the thread's end; a round trip later it would have arrived.
        assert execute(postgres.url, "SELECT pg_backend_pid()") is not None
        assert execute(postgres.url, "SELECT 1") == 1
    finally:
        postgres.stop()


def test_an_address_before_the_start_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="before start"):
        _ = EmbeddedPostgres(tmp_path).url
    with pytest.raises(RuntimeError, match="before start"):
        _ = EmbeddedValkey(tmp_path).url


# --- Valkey -------------------------------------------------------------------------------------------------


def test_valkey_finds_its_keys_again(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "42")
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"42"


def test_valkey_keeps_what_was_written_a_second_before_it_was_killed(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path).start()
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "42")
        client.waitaof(1, 0, 5000)  # The append-only file is on the disk.
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    wait_until(lambda: not valkey.is_running)
    valkey.stop()
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"42"


def test_valkey_asks_for_its_password_and_never_evicts(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=valkey.port, retry=once) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis.from_url(valkey.url) as client:
            settings = client.config_get("*")
        assert settings["bind"] == "127.0.0.1"
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction"
        assert stat.S_IMODE((tmp_path / "valkey.conf").stat().st_mode) == 0o600


def test_the_password_is_not_on_a_command_line(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        password = (tmp_path / "valkey.password").read_text().strip()
        assert password not in Path(f"/proc/{valkey.pid}/cmdline").read_text()


def test_a_second_valkey_on_the_folder_is_refused(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path), pytest.raises(FolderInUse, match=str(os.getpid())):
        EmbeddedValkey(tmp_path).start()


def test_a_folder_with_a_space_and_a_quote_in_its_name_serves(tmp_path: Path) -> None:
    folder = tmp_path / 'my "own" data'
    with EmbeddedValkey(folder) as valkey, redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
    with EmbeddedPostgres(folder, settings=FAST) as postgres:
        assert execute(postgres.url, "SELECT 1") == 1


# --- The life of the parent ---------------------------------------------------------------------------------


def test_killing_the_parent_takes_both_servers_down(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = parent
    assert all(is_alive(pid) for pid in pids)
    process.kill()
    wait_until(gone(pids))


def test_after_the_parent_was_killed_its_folder_serves_again_at_once(
    tmp_path: Path, parent: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, _ = parent
    process.kill()
    process.wait()
    with EmbeddedPostgres(tmp_path / "pg", settings=FAST) as postgres, EmbeddedValkey(tmp_path / "vk"):
        assert execute(postgres.url, "SELECT 1") == 1


def test_the_refusal_names_the_other_process(
    tmp_path: Path, parent: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, _ = parent
    with pytest.raises(FolderInUse, match=f"in use by process {process.pid}"):
        EmbeddedPostgres(tmp_path / "pg").start()


def test_an_orphan_that_will_not_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose parent died and whose end takes too long still has the data: wait, then say so."""
    monkeypatch.setattr("app.embedded.postgres.PREDECESSOR_PATIENCE_S", 0.1)
    with EmbeddedPostgres(tmp_path, settings=FAST) as orphan:
        (tmp_path / ".lock").unlink()  # As if nobody held it.
        with pytest.raises(FolderInUse, match=f"process {orphan.pid} .a PostgreSQL server"):
            EmbeddedPostgres(tmp_path, settings=FAST).start()
        assert orphan.is_running


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(
    parent: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, pids = parent
    for pid in pids:
        assert os.getsid(pid) == pid != os.getsid(process.pid)
    with suppress(ProcessLookupError):
        assert os.getpgid(pids[0]) != os.getpgid(process.pid)
