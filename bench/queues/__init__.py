"""Queues side by side: each `with_….py` is one of them, as producer (`enqueue`) and as worker.

Each runs under the Python that has its library, with REDIS_URL and DATABASE_URL, and STAMPS: the file that a
job adds the time of its start to. Adding eight bytes is the least that can be seen from outside, whatever
processes and threads a worker has.
"""

from __future__ import annotations

import os
import struct
import time


def stamp() -> None:
    """What every job does."""
    # Opened each time, because some workers fork for each job: all of it takes some 10 µs.
    descriptor = os.open(os.environ["STAMPS"], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, struct.pack("<d", time.time()))
    os.close(descriptor)
