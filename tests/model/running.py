"""Runs the machine: with the fence, and without it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from app.core.config import Settings
from app.core.database import connect, database
from app.models import completion
from app.models.document import Document
from app.models.vector_space import VectorSpace
from tests.model.machine import DocumentMachine


@contextmanager
def machine(own: Settings) -> Iterator[type[DocumentMachine]]:
    """The machine, on a database that nobody else uses just now."""

    class Machine(DocumentMachine):
        counts: ClassVar[Counter[str]] = Counter()

    with asyncio.Runner() as runner:
        opened = database(own)
        runner.run(opened.__aenter__())
        runner.run(VectorSpace.adopt("hash", "hash-64", 64))
        Machine.runner, Machine.beats = runner, runner.run(connect(own))
        try:
            yield Machine
        finally:
            runner.run(Machine.beats.close())
            runner.run(opened.__aexit__(None, None, None))


def explore(kind: type[DocumentMachine], *, first_seed: int, runs: int, steps: int = 60) -> None:
    """Play so many games.

    Raises:
        AssertionError: A promise was broken; Hypothesis prints the shortest way there that it finds.
    """
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate,),  # Shrinking a game takes minutes, and its steps are printed all the same.
        suppress_health_check=list(HealthCheck),
    )
    seed(first_seed)(kind)
    run_state_machine_as_test(kind, settings=chosen)


@contextmanager
def no_fence() -> Iterator[None]:
    """Moves look at the status only, and not at the attempt that the worker has."""
    move = Document._move.__func__  # type: ignore[attr-defined]

    async def unfenced(cls: type[Document], *args: Any, **named: Any) -> Document | None:
        named["attempt"] = None
        return await move(cls, *args, **named)

    with patch.object(Document, "_move", classmethod(unfenced)), patch.object(completion, "FENCE", "TRUE"):
        yield
