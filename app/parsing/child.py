"""The parser child: one file after another, within limits that the kernel keeps. Runs in a forked process."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import resource
import socket
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from app.errors import OutOfMemory, ServiceError
from app.parsing import wire
from app.parsing.registry import parse

_MEBIBYTE = 1 << 20
_MAX_DETAIL_CHARS = 4_000
# Standard error goes to a file in memory that the fork server reads when the child dies; nothing else is
# written.
_MAX_WRITTEN_BYTES = 64 * 1024
_SPARE_CPU_S = 2


def serve(connection: socket.socket, limits: wire.Limits) -> None:
    """Answer requests until the pool hangs up."""
    at_rest = _mapped_bytes()
    _limit_resources(at_rest, limits)
    while (received := _receive_request(connection)) is not None:
        request, file = received
        _limit_cpu(limits)
        with file:
            answer = _answer(request, file, limits, at_rest)
        connection.sendall(answer)


def _limit_resources(at_rest: int, limits: wire.Limits) -> None:
    """Here, later, the seccomp cage closes too: nothing but the connection and the file at hand is needed."""
    memory_bytes = at_rest + limits.memory_mb * _MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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


def _answer(request: dict[str, Any], file: BinaryIO, limits: wire.Limits, at_rest: int) -> bytes:
    try:
        document = parse(
            file,
            name=request["name"],
            max_text_chars=limits.max_text_chars,
            hint=request["hint"],
        )
        return wire.encode_document(document, tired=_is_tired(at_rest, limits))
    except MemoryError as error:
        return wire.encode_error(OutOfMemory.code, "", _detail(error), tired=True)
    except ServiceError as error:
        return wire.encode_error(
            error.code, wire.data_of(error), _detail(error), tired=_is_tired(at_rest, limits)
        )
    except OSError as error:
        return wire.encode_error("os_error", error.strerror or "input/output error", _detail(error))


def _detail(error: Exception) -> str:
    """The traceback for the log; it may be too much to ask for after a MemoryError."""
    with contextlib.suppress(MemoryError):
        return "".join(traceback.format_exception(error, limit=-8))[-_MAX_DETAIL_CHARS:]
    return ""


def _is_tired(at_rest: int, limits: wire.Limits) -> bool:
    """Whether memory that was not given back would be missing for the next file."""
    allowance = limits.memory_mb * _MEBIBYTE // 4
    if _mapped_bytes() - at_rest <= allowance:
        return False
    gc.collect()
    return _mapped_bytes() - at_rest > allowance


def _mapped_bytes() -> int:
    """Address space in use, which is what RLIMIT_AS counts; 0 where there is no /proc."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
