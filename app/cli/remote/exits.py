"""How commands end, for scripts."""

from __future__ import annotations

from enum import IntEnum

from app.client.errors import AnswerTooLate, ConnectionLost, ServerUnreachable, SluiceError
from app.client.settings import BadSettings


class ExitCode(IntEnum):
    """What `$?` is afterwards."""

    GOOD = 0
    FAILED = 1  # Some of it, or all; also what the server refuses.
    USAGE = 2  # It was called in a way that cannot be carried out; nothing was done.
    UNREACHABLE = 3  # The server does not answer, or does not answer any more.
    INTERRUPTED = 130  # As shells have it for SIGINT.


def exit_code_of(error: SluiceError) -> ExitCode:
    """What a call that failed means for the command that made it."""
    if isinstance(error, BadSettings):
        return ExitCode.USAGE
    if is_unreachable(error):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def is_unreachable(error: SluiceError | None) -> bool:
    """Whether nobody answers, so that there is no use in asking for the next thing either."""
    return isinstance(error, ServerUnreachable | ConnectionLost | AnswerTooLate)
