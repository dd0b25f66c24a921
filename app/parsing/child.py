"""The parser child: one file after another, within limits that the kernel keeps. Runs in a forked process."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import resource
import socket
import traceback
from typing import Any, BinaryIO

from app.errors import OutOfMemory, ServiceError
from app.parsing import cage, wire
from app.parsing.registry import parse

_MEBIBYTE = 1 << 20
_MAX_DETAIL_CHARS = 4_000
# Standard error goes to a file in memory that the fork server reads when the child dies; nothing else is
# written.
_MAX_WRITTEN_BYTES = 64 * 1024
_SPARE_CPU_S = 2
# The connection, standard streams, the document, a mapping of it, and some to spare.
_MAX_OPEN_FILES = 16


class _Memory:
    """Address space of this process, which is what RLIMIT_AS counts; 0 where there is no /proc."""

    def __init__(self) -> None:
        try:
            # Kept open: later there is no way to open anything.
            self._statm: int | None = os.open("/proc/self/statm", os.O_RDONLY)
        except OSError:
            self._statm = None
        self.at_rest = self.mapped_bytes()

    def mapped_bytes(self) -> int:
        if self._statm is None:
            return 0
        return int(os.pread(self._statm, 256, 0).split()[0]) * resource.getpagesize()

    def is_tired(self, limits: wire.Limits) -> bool:
        """Whether memory that was not given back would be missing for the next file."""
        allowance = limits.memory_mb * _MEBIBYTE // 4
        if self.mapped_bytes() - self.at_rest <= allowance:
            return False
        gc.collect()
        return self.mapped_bytes() - self.at_rest > allowance


def serve(connection: socket.socket, limits: wire.Limits, layers: cage.Layers) -> None:
    """Close the cage, then answer requests until the pool hangs up."""
    memory = _Memory()
    _limit_resources(memory.at_rest, limits)
    cage.lock(layers)
    while (received := _receive_request(connection)) is not None:
        request, file = received
        _limit_cpu(limits)
        with file:
            answer = _answer(request, file, limits, memory)
        connection.sendall(answer)


def _limit_resources(at_rest: int, limits: wire.Limits) -> None:
    memory_bytes = at_rest + limits.memory_mb * _MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_WRITTEN_BYTES, _MAX_WRITTEN_BYTES))


def _limit_cpu(limits: wire.Limits) -> None:
    """The pool watches the clock; this is for a pool that is frozen. CPU time adds up over files."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(usage.ru_utime + usage.ru_stime + limits.timeout_s) + _SPARE_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _receive_request(connection: socket.socket) -> tuple[dict[str, Any], BinaryIO] | None:
    """What to do, and the file to do it with, open for reading; None when the pool has hung up."""
    sizes, fds, _, _ = socket.recv_fds(connection, wire.SIZES.size, 1, socket.MSG_WAITALL)
    if len(sizes) < wire.SIZES.size:
        return None
    file = open(fds[0], "rb")  # noqa: PTH123, SIM115  # By its number; the caller closes it.
    header_bytes, _ = wire.SIZES.unpack(sizes)
    header = connection.recv(header_bytes, socket.MSG_WAITALL)
    return (json.loads(header), file) if len(header) == header_bytes else None


def _answer(request: dict[str, Any], file: BinaryIO, limits: wire.Limits, memory: _Memory) -> bytes:
    try:
        document = parse(
            file,
            name=request["name"],
            max_text_chars=limits.max_text_chars,
            hint=request["hint"],
        )
        return wire.encode_document(document, tired=memory.is_tired(limits))
    except MemoryError as error:
        return wire.encode_error(OutOfMemory.code, "", _detail(error), tired=True)
    except ServiceError as error:
        return wire.encode_error(
            error.code, wire.data_of(error), _detail(error), tired=memory.is_tired(limits)
        )
    except OSError as error:
        return wire.encode_error("os_error", error.strerror or "input/output error", _detail(error))


def _detail(error: Exception) -> str:
    """The traceback for the log; it may be too much to ask for after a MemoryError."""
    with contextlib.suppress(MemoryError):
        return "".join(traceback.format_exception(error, limit=-8))[-_MAX_DETAIL_CHARS:]
    return ""
