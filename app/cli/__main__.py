"""Runs one command. A `StartupError` is told as one sentence, never as a traceback."""

from __future__ import annotations

import os
import signal
import sys

from app.errors import StartupError


def main() -> None:
    """Run one command."""
    die_of_interrupts()
    from app.cli.commands import cli  # noqa: PLC0415  # Most of the time that a command takes; see above.

    if "_SLUICE_COMPLETE" in os.environ:
        from app.cli.remote.completion import teach_shells  # noqa: PLC0415  # Only shells ask.

        teach_shells()
    try:
        cli(prog_name="sluice")
    except StartupError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        die_of_interrupts()  # Nor would the interpreter, while it ends.


def die_of_interrupts() -> None:
    """Let Ctrl-C end this process as it ends others (130 for shells), until a command has something to lose.

    `KeyboardInterrupt` in the middle of an import is a traceback. Whoever ignores the signal still does, and
    what came while the bootstrap had it blocked takes effect now.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


if __name__ == "__main__":
    main()
