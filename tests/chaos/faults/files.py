"""Files that hurt whoever reads them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.chaos.faults.base import Fault, Figure, Run, at_least, exactly
from tests.chaos.programs import ROOT, children_of, stat_of
from tests.chaos.rig import Scale
from tests.chaos.workload import Item, Post, pdf_stream, write_pdf

HANGS = frozenset({"parse_timeout", "parser_crashed"})
HURTS = frozenset({"out_of_memory", "parser_crashed", "parse_timeout"})
#: What a file of the public corpora may end with, if it is not COMPLETED.
ANY = HANGS | HURTS | {"corrupt_file", "no_text", "encrypted_file", "empty_file", "unsupported_media_type"}


class HostileFiles(Fault):
    name = "hostile-files"
    told = "files that hang, bloat and kill their parsers, among them those that once hurt others"
    timeout_s = 12
    segfaults = 1  # The other files that hang run into their limit.

    def environment(self, scale: Scale) -> dict[str, str]:
        # One child in each worker: what its worker has open, it reads.
        return {
            "PARSE_TIMEOUT_S": f"{self.timeout_s}",
            "PARSE_MEMORY_MB": "256",
            "PARSER_PROCESSES": "1",
        }

    def items(self, scale: Scale) -> Sequence[Item]:
        copies = range(2)
        return [
            *(Item(f"hang-{n}", (Post(_endless_page(n), "page.html"),), HANGS) for n in copies),
            *(Item(f"bloat-{n}", (Post(_json_bomb(n), "bomb.json"),), HURTS) for n in copies),
            *(Item(f"blast-{n}", (Post(_pdf_bomb(n), "bomb.pdf"),), HURTS) for n in copies),
            *_corpus(),
        ]

    async def inject(self, run: Run) -> None:
        """Beside what the files do: a segmentation fault in the middle of one, as libraries have."""
        for _ in range(self.segfaults):
            pid = await run.rig.until(lambda: self._hanging_child(run), 120, "no parser hangs")
            os.kill(pid, signal.SIGSEGV)
            await run.rig.until(lambda pid=pid: not stat_of(pid), 30)
            run.note("segfaults", 1)

    async def _hanging_child(self, run: Run) -> int | None:
        """The parser child that reads one of the files that hang: its worker has that file open."""
        ids = [id_ for key, found in run.client.accepted.items() if key.startswith("hang-") for id_ in found]
        rows = await run.rig.database.rows(
            "SELECT content_key FROM documents WHERE id = ANY($1::uuid[]) AND content_key IS NOT NULL", ids
        )
        contents = {str(run.rig.folder / "content" / row["content_key"]) for row in rows}
        for pid in [pid for worker in run.rig.workers for pid in children_of(worker.master())]:
            if contents & set(_open_files(pid)):
                for server in filter(_is_fork_server, children_of(pid)):
                    return next(iter(children_of(server)), None)
        return None

    async def figures(self, run: Run) -> Sequence[Figure]:
        rows = await run.rig.database.rows(
            "SELECT error->>'code' AS code, count(*) AS n FROM documents WHERE status = 'FAILED' GROUP BY 1"
        )
        codes = {row["code"]: row["n"] for row in rows}
        return [
            at_least("segmentation faults", 1, len(run.notes.get("segfaults", []))),
            at_least("out_of_memory", 2, codes.get("out_of_memory", 0)),
            at_least("parser_crashed or parse_timeout", 2, sum(codes.get(code, 0) for code in HANGS)),
            exactly("workers that ended", 0, sum(len(worker.exit_codes) for worker in run.rig.workers)),
        ]


def _open_files(pid: int) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return found


def _is_fork_server(pid: int) -> bool:
    return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _endless_page(number: int) -> bytes:
    """Elements in elements: the tree takes a time that grows with the square."""
    return b"<!doctype html><title>%d</title>" % number + b"<div>" * 300_000 + b"x"


def _json_bomb(number: int) -> bytes:
    return b"[%d," % number + b"[]," * 8_000_000 + b"1]"


def _pdf_bomb(number: int) -> bytes:
    """Forms that draw each other, thirty times each."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>"
    objects = [pdf_stream(b"/X Do " * 30, form % 5), pdf_stream(b"/X Do " * 30, form % 4)]
    return write_pdf([b"%% %d\n/X Do" % number], resources=b"/XObject<</X 4 0 R>>", objects=objects)


def _corpus() -> list[Item]:
    """The public ones, where they are."""
    folder = Path(os.environ.get("SLUICE_CORPORA", ROOT.parent / "shared" / "corpora")) / "hostile-pdf"
    return [
        Item(
            f"corpus-{path.name}", (Post(path.read_bytes(), f"{path.stem}.pdf", f"hostile/{path.name}"),), ANY
        )
        for path in sorted(folder.glob("*.fuzz"))
    ]
