"""Forms a model's batches out of the texts of all documents that a process has in hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Token ids of one text, special tokens included.
Ids = list[int]


class _Job:
    """The texts of one call, by length; and their vectors."""

    def __init__(self, texts: Sequence[Ids], dimensions: int) -> None:
        self.texts = texts
        self.waiting = deque(sorted(range(len(texts)), key=lambda row: len(texts[row])))
        self.missing = len(texts)
        self.vectors: NDArray[np.float32] = np.empty((len(texts), dimensions), np.float32)
        self.future: Future[NDArray[np.float32]] = Future()

    def take(self, tokens: int) -> list[_Item]:
        """The next texts, of similar length, with no more tokens than these; at least one."""
        taken: list[_Item] = []
        while self.waiting:
            tokens -= len(self.texts[self.waiting[0]])
            if taken and tokens < 0:
                break
            taken.append(_Item(self, self.waiting.popleft()))
        return taken

    def put(self, row: int, vector: NDArray[np.float32]) -> None:
        self.vectors[row] = vector
        self.missing -= 1
        if self.missing == 0:
            # The caller may cancel at any moment, also between a look at the future and setting it.
            with suppress(InvalidStateError):
                self.future.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class _Item(NamedTuple):
    """One text of a job."""

    job: _Job
    row: int

    @property
    def ids(self) -> Ids:
        return self.job.texts[self.row]


class _Lane:
    """Jobs of one urgency, served in rounds.

    In a round every job gets one batch's worth of tokens, so a small document waits for one batch of each
    large one before it, at most. The texts of a round are batched by length, whoever they belong to: filled
    job by job, batches of 1,024 tokens were a third padding where documents are small, and 15 % slower.
    """

    def __init__(self, batch_tokens: int) -> None:
        self._batch_tokens = batch_tokens
        self._jobs: list[_Job] = []
        self._batches: deque[list[_Item]] = deque()

    def __bool__(self) -> bool:
        return bool(self._jobs or self._batches)

    def add(self, job: _Job) -> None:
        self._jobs.append(job)

    def next_batch(self) -> list[_Item]:
        """Of those who still wait for it; empty when all of them have left."""
        if not self._batches:
            self._plan_round()
        batch = self._batches.popleft() if self._batches else []
        # Cancelled by their caller meanwhile, or failed by an earlier batch.
        return [item for item in batch if not item.job.future.done()]

    def drop(self) -> list[_Job]:
        """The jobs that are not done, and they are forgotten."""
        jobs = [*self._jobs, *(item.job for batch in self._batches for item in batch)]
        self._jobs, self._batches = [], deque()
        return jobs

    def _plan_round(self) -> None:
        texts = [item for job in self._jobs if not job.future.done() for item in job.take(self._batch_tokens)]
        self._jobs = [job for job in self._jobs if job.waiting and not job.future.done()]
        batch: list[_Item] = []
        for item in sorted(texts, key=lambda item: len(item.ids)):
            # It is the longest so far, and all others are padded to it.
            if batch and len(item.ids) * (len(batch) + 1) > self._batch_tokens:
                self._batches.append(batch)
                batch = []
            batch.append(item)
        if batch:
            self._batches.append(batch)


class Batcher:
    """One thread that feeds a model: questions first, then all documents in turn.

    Args of the constructor:
        run: The model: n texts as ids → (n, dimensions). Called from the one thread only.
        dimensions: Of a vector.
        batch_tokens: What a batch has at most, padding counted; a longer text gets a batch of its own. A
            question waits for the one under way.
    """

    def __init__(
        self, run: Callable[[list[Ids]], NDArray[np.float32]], dimensions: int, *, batch_tokens: int
    ) -> None:
        self._run = run
        self._dimensions = dimensions
        self._urgent = _Lane(batch_tokens)
        self._patient = _Lane(batch_tokens)
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

    def submit(self, texts: Sequence[Ids], *, is_urgent: bool) -> Future[NDArray[np.float32]]:
        """Have the texts embedded; a cancelled future costs nobody else anything.

        Raises:
            RuntimeError: The batcher is closed.
        """
        job = _Job(texts, self._dimensions)
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The embedder is closed.")
            if not texts:
                job.future.set_result(job.vectors)
                return job.future
            (self._urgent if is_urgent else self._patient).add(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Finish the batch under way, and fail what waits. May be called twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._urgent or self._patient)
                if self._is_closed:
                    break
                batch = (self._urgent or self._patient).next_batch()
            if batch:
                self._embed(batch)
        for job in (*self._urgent.drop(), *self._patient.drop()):
            job.fail(RuntimeError("The embedder was closed."))

    def _embed(self, batch: list[_Item]) -> None:
        try:
            vectors = self._run([item.ids for item in batch])
            if vectors.shape != (len(batch), self._dimensions):
                raise ValueError(f"The model gave {vectors.shape} for {len(batch)} texts.")
        except Exception as error:  # It is for those who wait, the thread goes on.
            self._embed_apart(batch, error)
            return
        for (job, row), vector in zip(batch, vectors, strict=True):
            job.put(row, vector)

    def _embed_apart(self, batch: list[_Item], error: Exception) -> None:
        """Give each job of a failed batch a batch of its own, so that only the one at fault fails."""
        # Sorted by length, the jobs are mixed; `groupby` wants neighbours.
        jobs = [list(items) for _, items in groupby(sorted(batch, key=_owner), key=_owner)]
        if len(jobs) == 1:
            batch[0].job.fail(error)
            return
        for items in jobs:
            self._embed(items)


def _owner(item: _Item) -> int:
    return id(item.job)
