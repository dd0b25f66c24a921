"""Forms a model's batches out of the texts of all documents that a process has in hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

#: Token ids of one text, special tokens included.
Ids = list[int]

#: What a batch has at most, padding counted: larger ones are no faster on a CPU, and a question that arrives
#: meanwhile has to wait for the one under way.
BATCH_TOKENS = 1024


class _Job:
    """The texts of one call, by length, so that its batches have little padding; and their vectors."""

    def __init__(self, texts: Sequence[Ids], dimensions: int) -> None:
        self.texts = texts
        self.waiting = deque(sorted(range(len(texts)), key=lambda index: len(texts[index])))
        self.missing = len(texts)
        self.vectors: NDArray[np.float32] = np.empty((len(texts), dimensions), np.float32)
        self.future: Future[NDArray[np.float32]] = Future()

    def fail(self, error: Exception) -> None:
        # The caller may cancel at any moment, also between a look at the future and setting it.
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def put(self, index: int, vector: NDArray[np.float32]) -> None:
        self.vectors[index] = vector
        self.missing -= 1
        if self.missing == 0:
            with suppress(InvalidStateError):
                self.future.set_result(self.vectors)


class Batcher:
    """One thread that feeds a model: questions first, then all documents in turn.

    Args of the constructor:
        run: The model: texts as ids → (n, dimensions).
        dimensions: Of a vector.
    """

    def __init__(self, run: Callable[[list[Ids]], NDArray[np.float32]], dimensions: int) -> None:
        self._run = run
        self._dimensions = dimensions
        self._urgent: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()
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
        if not texts:
            job.future.set_result(job.vectors)
            return job.future
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The embedder is closed.")
            (self._urgent if is_urgent else self._jobs).append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Finish the batch under way, and fail what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._urgent or self._jobs)
                if self._is_closed:
                    break
                batch = _take_batch(self._urgent or self._jobs)
            if batch:
                self._embed(batch)
        for job in (*self._urgent, *self._jobs):
            job.fail(RuntimeError("The embedder was closed."))

    def _embed(self, batch: list[tuple[_Job, int]]) -> None:
        try:
            vectors = self._run([job.texts[index] for job, index in batch])
        except Exception as error:  # It is for those who wait for this batch.
            for job, _ in batch:
                job.fail(error)
            return
        for (job, index), vector in zip(batch, vectors, strict=True):
            job.put(index, vector)


def _take_batch(jobs: deque[_Job]) -> list[tuple[_Job, int]]:
    """One turn: texts of the job whose turn it is, and of those behind it as far as there is room.

    A job with more to do goes to the end of the queue, so that a small document waits for one batch of each
    large one before it, at most.
    """
    batch: list[tuple[_Job, int]] = []
    longest = 0
    for _ in range(len(jobs)):
        job = jobs.popleft()
        if job.future.done():
            continue  # Cancelled by its caller, or failed by an earlier batch.
        while job.waiting:
            longest = max(longest, len(job.texts[job.waiting[0]]))
            if batch and longest * (len(batch) + 1) > BATCH_TOKENS:
                jobs.append(job)
                return batch
            batch.append((job, job.waiting.popleft()))
    return batch
