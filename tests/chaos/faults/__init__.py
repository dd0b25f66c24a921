"""All faults by name, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.faults.base import Fault
from tests.chaos.faults.controls import FenceOff, ReconcilerOff
from tests.chaos.faults.files import HostileFiles
from tests.chaos.faults.postgres import BackendsTerminated, CommitReplyLost, PoolExhausted, PostgresRestarted
from tests.chaos.faults.queue import (
    ForgedMessages,
    MessagesTripled,
    RedisDown,
    RedisDownWithRetries,
    RedisEmptied,
    RedisFlushed,
    RedisFull,
    RedisStopped,
)
from tests.chaos.faults.workers import (
    APIKilled,
    MasterKilled,
    RollingStop,
    StorerStopped,
    WorkerKilled,
    WorkerStopped,
)

FAULTS: Mapping[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        WorkerKilled,
        MasterKilled,
        APIKilled,
        WorkerStopped,
        StorerStopped,
        RollingStop,
        RedisFlushed,
        RedisEmptied,
        RedisDown,
        RedisDownWithRetries,
        RedisStopped,
        RedisFull,
        ForgedMessages,
        MessagesTripled,
        PostgresRestarted,
        BackendsTerminated,
        CommitReplyLost,
        PoolExhausted,
        HostileFiles,
        FenceOff,
        ReconcilerOff,
    )
}
