"""The pool with real children: their limits, their deaths, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import xlsxwriter

from app.errors import (
    CorruptFile,
    EmptyFile,
    OutOfMemory,
    ParserCrashed,
    ParseTimeout,
    StartupError,
    TextTooLong,
    UnsupportedMediaType,
    WorkerLost,
)
from app.parsing import sandbox
from app.parsing.sandbox import ParserPool
from tests.hostile import DOCUMENT, docx_members, zipped

PATIENCE_S = 20
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    async with ParserPool(processes=1, timeout_s=PATIENCE_S, memory_mb=256, max_text_chars=1_000_000) as pool:
        yield pool


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("Grüße")
    return path


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)  # How often we look: /proc has no events.


def stat_of(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def is_running(pid: int) -> bool:
    return bool(fields := stat_of(pid)) and fields[0] not in {"Z", "X"}


def is_stopped(pid: int) -> bool:
    return stat_of(pid)[:1] == ["T"]


def children_of(pid: int) -> list[int]:
    everyone = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [other for other in everyone if stat_of(other)[1:2] == [str(pid)] and is_running(other)]


def server_of(pool: ParserPool) -> int:
    assert pool._server is not None
    return pool._server.process.pid


async def only_child(pool: ParserPool) -> int:
    await until(lambda: len(children_of(server_of(pool))) == 1)
    return children_of(server_of(pool))[0]


async def stopped_child(pool: ParserPool) -> int:
    """A child that hangs from now on."""
    pid = await only_child(pool)
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: is_stopped(pid))
    return pid


# --- What comes back ---------------------------------------------------------------------------------------


async def test_a_file_comes_back_as_a_document(pool: ParserPool, text_file: Path) -> None:
    document = await pool.parse(text_file, "a.md")
    assert (document.text, document.media_type) == ("Grüße", "text/markdown")
    assert (await pool.parse(text_file, None, hint="text/markdown")).media_type == "text/markdown"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyFile),
        (b"  \n", EmptyFile),
        (b"%PDF-1.4 nothing", CorruptFile),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", UnsupportedMediaType),
        (b"x" * 1_000_001, TextTooLong),
    ],
)
async def test_named_errors_cross_the_border_and_leave_the_child_alive(
    pool: ParserPool, tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    before = await only_child(pool)
    with pytest.raises(error) as caught:
        await pool.parse(path)
    assert str(path) not in str(caught.value)
    assert await only_child(pool) == before


async def test_a_missing_file_is_told_at_once(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await pool.parse(tmp_path / "missing")


async def test_a_path_that_cannot_be_read_is_an_error_of_the_system(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        await pool.parse(tmp_path)


async def test_more_files_than_children_wait_their_turn(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(50)]
    for path in paths:
        path.write_text(path.name)
    async with ParserPool(processes=3) as pool:
        documents = await asyncio.gather(*(pool.parse(path) for path in paths))
        assert len(children_of(server_of(pool))) <= 3
    assert [document.text for document in documents] == [path.name for path in paths]


async def test_a_text_of_many_megabytes_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("wörd " * 1_000_000)
    async with ParserPool(processes=1) as pool:
        assert (await pool.parse(path)).text == path.read_text().rstrip()


# --- Limits ------------------------------------------------------------------------------------------------


async def test_a_hanging_child_is_killed_when_its_time_is_up(text_file: Path) -> None:
    async with ParserPool(processes=1, timeout_s=0.2) as pool:
        await pool.parse(text_file)
        pid = await stopped_child(pool)
        with pytest.raises(ParseTimeout) as caught:
            await pool.parse(text_file)
        assert caught.value.limit_s == 0.2
        await until(lambda: not is_running(pid))
        assert (await pool.parse(text_file)).text == "Grüße"


async def test_waiting_for_a_turn_does_not_count_as_time(text_file: Path) -> None:
    async with ParserPool(processes=1, timeout_s=0.3) as pool:
        await stopped_child(pool)
        results = await asyncio.gather(*(pool.parse(text_file) for _ in range(3)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == [
        "ParseTimeout",
        "ParsedDocument",
        "ParsedDocument",
    ]


async def test_a_child_that_burns_its_cpu_time_is_a_timeout(pool: ParserPool, text_file: Path) -> None:
    pid = await stopped_child(pool)
    parsing = asyncio.create_task(pool.parse(text_file))
    os.kill(pid, signal.SIGXCPU)
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(ParseTimeout):
        await parsing


async def test_a_sheet_that_claims_the_whole_grid_is_out_of_memory(pool: ParserPool, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write(0, 0, "first")
        sheet.write(1_048_575, 16_383, "last")
    path = tmp_path / "grid.xlsx"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(OutOfMemory) as caught:
        await pool.parse(path)
    assert caught.value.limit_mb == 256


async def test_a_json_bomb_is_out_of_memory_and_the_next_file_is_read(
    tmp_path: Path, text_file: Path
) -> None:
    path = tmp_path / "bomb.json"
    path.write_text("[" + "[]," * 8_000_000 + "1]")
    async with ParserPool(processes=1, memory_mb=256) as pool:
        with pytest.raises(OutOfMemory):
            await pool.parse(path)
        assert (await pool.parse(text_file)).text == "Grüße"


async def test_xml_that_needs_too_much_memory_is_told_from_xml_that_is_damaged(
    pool: ParserPool, tmp_path: Path
) -> None:
    path = tmp_path / "elements.docx"
    path.write_bytes(zipped(docx_members(DOCUMENT.replace("<w:p>", "<w:p/>" * 4_000_000 + "<w:p>"))))
    with pytest.raises(OutOfMemory):
        await pool.parse(path)


async def test_children_run_within_limits_of_the_kernel(pool: ParserPool, text_file: Path) -> None:
    await pool.parse(text_file)
    limits = lines_of(f"/proc/{await only_child(pool)}/limits")
    table = {line[:25].strip(): line[25:].split() for line in limits}
    assert table["Max core file size"][0] == "0"
    assert table["Max cpu time"][0].isdecimal()
    assert int(table["Max address space"][0]) < 2 << 30
    assert int(table["Max file size"][0]) <= 64 * 1024


async def test_children_do_not_see_the_passwords_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    async with ParserPool(processes=1) as pool:
        assert "DATABASE_URL" not in lines_of(f"/proc/{await only_child(pool)}/environ")[0]


# --- Deaths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL])
async def test_a_crash_costs_one_child_and_names_its_signal(
    pool: ParserPool, text_file: Path, number: signal.Signals
) -> None:
    pid = await stopped_child(pool)
    parsing = asyncio.create_task(pool.parse(text_file))
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(ParserCrashed) as caught:
        await parsing
    assert caught.value.reason == f"signal {number.value}"
    assert (await pool.parse(text_file)).text == "Grüße"


async def test_a_child_killed_from_outside_is_made_good(pool: ParserPool, text_file: Path) -> None:
    pid = await stopped_child(pool)
    parsing = asyncio.create_task(pool.parse(text_file))
    os.kill(pid, signal.SIGKILL)
    assert (await parsing).text == "Grüße"


async def test_a_child_that_dies_idle_is_replaced(pool: ParserPool, text_file: Path) -> None:
    pid = await only_child(pool)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_running(pid))
    assert (await pool.parse(text_file)).text == "Grüße"


async def test_a_lost_fork_server_is_made_good(pool: ParserPool, text_file: Path) -> None:
    child, server = await stopped_child(pool), server_of(pool)
    parsing = asyncio.create_task(pool.parse(text_file))
    os.kill(server, signal.SIGKILL)
    assert (await parsing).text == "Grüße"
    assert server_of(pool) != server
    await until(lambda: not is_running(child))


async def test_a_cancelled_parse_kills_its_child(pool: ParserPool, text_file: Path) -> None:
    pid = await stopped_child(pool)
    parsing = asyncio.create_task(pool.parse(text_file))
    await until(pool._idle.empty)
    parsing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parsing
    await until(lambda: not is_running(pid))
    assert (await pool.parse(text_file)).text == "Grüße"


async def test_a_parse_cancelled_while_it_waits_costs_no_child(pool: ParserPool, text_file: Path) -> None:
    pid = await stopped_child(pool)
    first, second = (asyncio.create_task(pool.parse(text_file)) for _ in range(2))
    await until(pool._idle.empty)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    os.kill(pid, signal.SIGCONT)
    assert (await first).text == "Grüße"
    assert await only_child(pool) == pid


async def test_a_child_is_replaced_after_so_many_documents(text_file: Path) -> None:
    async with ParserPool(processes=1, documents_per_child=2) as pool:
        for _ in range(2):
            await pool.parse(text_file)
            first = await only_child(pool)
            await pool.parse(text_file)
            # It ends by itself, a moment later.
            await until(lambda pid=first: pid not in children_of(server_of(pool)))
            assert await only_child(pool) != first


# --- Beginning and end -------------------------------------------------------------------------------------


async def test_closing_ends_every_process_and_every_parse(text_file: Path) -> None:
    async with ParserPool(processes=1) as pool:
        family = [server_of(pool), await stopped_child(pool)]
        parsing = [asyncio.create_task(pool.parse(text_file)) for _ in range(3)]
        await until(pool._idle.empty)
    assert not any(map(is_running, family))
    assert [type(result) for result in await asyncio.gather(*parsing, return_exceptions=True)] == [
        WorkerLost
    ] * 3
    with pytest.raises(WorkerLost):
        await pool.parse(text_file)


async def test_ctrl_c_and_sigterm_leave_the_children_to_their_parent(
    pool: ParserPool, text_file: Path
) -> None:
    family = [server_of(pool), await only_child(pool)]
    for pid in family:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    assert (await pool.parse(text_file)).text == "Grüße"
    assert [server_of(pool), await only_child(pool)] == family


async def test_a_fork_server_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_BOOTSTRAP", "raise SystemExit(3)")
    with pytest.raises(StartupError, match="exit code 3"):
        async with ParserPool():
            pass


def start(script: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_no_orphans_are_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from app.core.logging import configure_logging\n"
        "from app.parsing.sandbox import ParserPool\n"
        "configure_logging('INFO', 'json')\n"
        "async def main():\n"
        "    async with ParserPool(processes=2) as pool:\n"
        "        print(pool._server.process.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with start(script) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        await until(lambda: len(children_of(server)) == 2)
        family = [server, *children_of(server)]
        os.kill(family[1], signal.SIGSTOP)  # Even one that cannot notice that its parent is gone.
        parent.kill()
        await until(lambda: not any(map(is_running, family)))


async def test_the_pool_works_in_a_forked_worker_with_handlers_threads_and_another_main(
    tmp_path: Path,
) -> None:
    """As in a worker of dramatiq: forked, stderr a pipe object, signals handled, the loop in a thread."""
    marks = tmp_path / "marks"
    text = tmp_path / "a.txt"
    text.write_text("Grüße")
    script = tmp_path / "main_module.py"
    script.write_text(
        "import asyncio, json, multiprocessing, os, signal, sys, threading\n"
        f"open({str(marks)!r}, 'a').write('imported ')\n"
        "def worker(pipe):\n"
        "    from pathlib import Path\n"
        "    from app.core.logging import configure_logging\n"
        "    from app.parsing.sandbox import ParserPool\n"
        "    configure_logging('INFO', 'json')\n"
        "    sys.stderr = os.fdopen(os.pipe()[1], 'w')\n"
        "    for number in (signal.SIGTERM, signal.SIGINT):\n"
        "        signal.signal(number, lambda *_: None)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])\n"
        "    async def main():\n"
        "        async with ParserPool(processes=1) as pool:\n"
        f"            pipe.send((await pool.parse(Path({str(text)!r}))).text)\n"
        "    thread = threading.Thread(target=asyncio.run, args=(main(),))\n"
        "    thread.start(); thread.join()\n"
        "ours, theirs = multiprocessing.Pipe()\n"
        "process = multiprocessing.get_context('fork').Process(target=worker, args=(theirs,))\n"
        "process.start(); print(json.dumps(ours.recv() if ours.poll(20) else None)); process.join()\n"
        "sys.exit(process.exitcode)\n"
    )
    with start(script) as parent:
        output, _ = await asyncio.to_thread(parent.communicate, timeout=PATIENCE_S)
    assert json.loads(output) == "Grüße"
    assert parent.returncode == 0
    assert marks.read_text() == "imported "


def highest_descriptor() -> int:
    return max(int(each.name) for each in Path("/proc/self/fd").iterdir())


async def test_a_slot_is_not_lost_while_there_are_no_descriptors(pool: ParserPool, text_file: Path) -> None:
    child = await only_child(pool)
    os.kill(child, signal.SIGKILL)
    await until(lambda: not is_running(child))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = highest_descriptor() + 1
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(in_use)]  # Also the numbers between.
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use, hard))
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                await pool.parse(text_file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)

    async with asyncio.timeout(PATIENCE_S):
        assert (await pool.parse(text_file)).text == "Grüße"
