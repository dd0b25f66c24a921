"""Opens and closes the database, for every kind of process, and brings its schema up to date."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
from aerich import Command
from aerich.models import Aerich
from pgvector import HalfVector
from tortoise import Tortoise
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.exceptions import DBConnectionError, OperationalError

from app.core.config import Settings, get_settings
from app.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseUnavailable,
    SchemaOutdated,
    ServiceError,
    StartupError,
)

MIGRATIONS = Path(__file__).parents[2] / "migrations"
MODELS = [
    "app.models.document",
    "app.models.document_content",
    "app.models.attempt",
    "app.models.batch",
    "app.models.embedded_text",
    "app.models.idempotency_key",
    "app.models.chunk",
    "app.models.collection",
    "app.models.vector_space",
]

# Any number will do, so long as nobody else in the database uses it.
MIGRATION_LOCK = 0x51_1C_E0

# What is raised while the server is away, starts or stops; FileNotFoundError for a socket's path.
UNREACHABLE = (
    ConnectionError,
    FileNotFoundError,
    TimeoutError,
    socket.gaierror,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    DBConnectionError,
)

# What comes out of a statement or a transaction whose connection broke under it: these, and asyncpg's words
# for a connection that is closed, or was closed while it waited.
BROKEN = (*UNREACHABLE, asyncpg.InterfaceError, asyncpg.InternalClientError)

# PostgreSQL's error codes, by their beginning (appendix A of its manual): the longest one counts. Whatever is
# not here is our mistake, or the request's.
SURROUNDINGS: dict[str, type[ServiceError]] = {
    "08": DatabaseUnavailable,  # Connection exceptions.
    "25006": DatabaseUnavailable,  # A standby, or a server set to read only: somebody is moving things.
    "25P03": DatabaseUnavailable,  # Idle in a transaction for too long, as we are when we stand still.
    "25P04": DatabaseBusy,
    "28": DatabaseUnavailable,  # The password or its rules were changed while we ran.
    "3D000": DatabaseUnavailable,  # The database is gone.
    "40": DatabaseBusy,  # Serialization failures and deadlocks: whoever comes again finds the way free.
    "42501": DatabaseUnavailable,  # Rights were taken away.
    "53": DatabaseBusy,  # Out of memory, too many connections.
    "53100": DatabaseFull,
    "55006": DatabaseBusy,
    "55P03": DatabaseBusy,  # A lock that is not to be had in time.
    "57": DatabaseUnavailable,  # Shutting down, starting up, ended by an administrator.
    "57014": DatabaseBusy,  # A statement that took too long.
    "58": DatabaseUnavailable,  # Its disk fails.
    "XX001": DatabaseUnavailable,  # Its data are damaged; its own log says where.
    "XX002": DatabaseUnavailable,
}

#: Types that asyncpg does not know; each costs a new connection a round trip. Words are put together in their
#: binary formats (app/words): made of objects, they would take most of the time.
CODECS = (
    ("halfvec", "public", HalfVector.to_binary, HalfVector.from_binary),
    ("sparsevec", "public", bytes, bytes),
    ("tsvector", "pg_catalog", bytes, bytes),
)

#: How long a statement may take before it counts as lost.
COMMAND_TIMEOUT_S = 30

#: How many neighbours a search through HNSW keeps in view, unless it is asked for more or fewer.
EF_SEARCH = 200

#: How long a client that has fallen silent may keep what it has locked; then its connection is ended.
SILENT_AT_MOST_S = 30


def database_error(error: BaseException | None) -> ServiceError | None:
    """What a failure of the database's surroundings is called; None when it is none.

    Tortoise wraps some of asyncpg's errors in its own, which have no code: the cause has it.
    """
    while error is not None:
        code = getattr(error, "sqlstate", None)
        if isinstance(code, str):
            known = [SURROUNDINGS[code[:n]] for n in (5, 2) if code[:n] in SURROUNDINGS]
            return known[0]() if known else None
        if isinstance(error, BROKEN):
            return DatabaseUnavailable()
        error = error.__cause__
    return None


class _StatelessConnection(asyncpg.Connection):  # type: ignore[misc]
    """Goes back to the pool as it is: no statement of ours leaves anything in its session to be reset.

    asyncpg would send RESET and the like after each use, a round trip as long as most statements.
    """

    def get_reset_query(self) -> str:
        return ""


def tortoise_config(
    settings: Settings, *, command_timeout_s: float | None = None, lock_timeout_s: float = 0
) -> dict[str, Any]:
    """What Tortoise and aerich want to know, with our pool and the codecs for vectors.

    Without a timeout, as aerich needs it: a migration of a large table takes as long as it takes.
    """
    connection = _connection(settings)
    connection["credentials"] |= {
        "minsize": 1,
        "maxsize": settings.DATABASE_POOL_SIZE,
        "init": prepare_connection,
        "connection_class": _StatelessConnection,
        "command_timeout": command_timeout_s,
        "server_settings": {
            "application_name": "sluice",
            # A process that is stopped or cut off inside a transaction keeps rows locked: for so long at the
            # most, unless it is copying just then (backlog.end_silent_writers).
            "idle_in_transaction_session_timeout": f"{SILENT_AT_MOST_S}s",
            "lock_timeout": f"{lock_timeout_s:g}s",
            # A filtered search goes on scanning until it has its k rows (pgvector, "Iterative Index Scans").
            "hnsw.iterative_scan": "strict_order",
            "hnsw.ef_search": str(EF_SEARCH),
            # Compiling takes longer than any of our statements, and the planner believes otherwise.
            "jit": "off",
        },
    }
    return {
        "connections": {"default": connection},
        "apps": {"models": {"models": [*MODELS, "aerich.models"], "default_connection": "default"}},
        "use_tz": True,
    }


def _connection(settings: Settings) -> dict[str, Any]:
    connection: dict[str, Any] = expand_db_url(settings.DATABASE_URL)
    # What libpq, and every provider's copy button, calls `sslmode`.
    if "sslmode" in connection["credentials"]:
        connection["credentials"]["ssl"] = connection["credentials"].pop("sslmode")
    return connection


def __getattr__(name: str) -> dict[str, Any]:
    # aerich reads this name; settings are looked at only then, so that importing this module needs none.
    if name == "TORTOISE_ORM":
        return tortoise_config(get_settings())
    raise AttributeError(name)


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """Let it take and give vectors, and words in PostgreSQL's own formats."""
    # The extension comes with the first migration; before it there are no vectors to read.
    with suppress(ValueError):
        for name, schema, encoder, decoder in CODECS:
            await connection.set_type_codec(
                name, schema=schema, encoder=encoder, decoder=decoder, format="binary"
            )


@asynccontextmanager
async def database(settings: Settings, *, lock_timeout_s: float = 0) -> AsyncIterator[None]:
    """Tortoise, open and checked, for as long as the block lasts; on the event loop that runs it.

    Args:
        settings: Where it is.
        lock_timeout_s: How long a statement waits for somebody else's lock; 0 is as long as for anything.

    Raises:
        StartupError: The server cannot be reached or refuses us.
        SchemaOutdated: The tables of this version are not there.
    """
    # Tortoise keeps its state in a context variable; without the global fallback, tasks that were not
    # started from this very context (Dramatiq's actors, requests) would find no database.
    config = tortoise_config(settings, command_timeout_s=COMMAND_TIMEOUT_S, lock_timeout_s=lock_timeout_s)
    await Tortoise.init(config=config, _enable_global_fallback=True)
    try:
        await _check_schema()
        yield
    finally:
        await Tortoise.close_connections()


async def _check_schema() -> None:
    newest = max(MIGRATIONS.joinpath("models").glob("[0-9]*_*.py"), key=_number).name
    try:
        is_current = await Aerich.exists(version=newest)
    except OperationalError as error:
        raise SchemaOutdated from error  # There is not even aerich's own table.
    except UNREACHABLE as error:
        raise StartupError(f"The database at DATABASE_URL cannot be reached: {_reason(error)}.") from error
    except asyncpg.PostgresError as error:
        raise StartupError(f"The database at DATABASE_URL refuses: {error}.") from error
    if not is_current:
        raise SchemaOutdated


def _number(migration: Path) -> int:
    return int(migration.name.partition("_")[0])


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


async def connect(settings: Settings, *, timeout_s: float = 5) -> asyncpg.Connection:
    """One connection outside the pool: for what must not wait behind other work.

    Raises:
        OSError, asyncpg.PostgresError, TimeoutError: The server is away or refuses.
    """
    credentials = _connection(settings)["credentials"]
    known = {
        key: credentials[key]
        for key in ("host", "port", "user", "password", "database", "ssl")
        if key in credentials
    }
    return await asyncpg.connect(
        **known, timeout=timeout_s, command_timeout=timeout_s, server_settings={"application_name": "sluice"}
    )


async def migrate(settings: Settings) -> list[str]:
    """Apply the migrations that are missing; as many processes as want to may call this at once.

    Returns:
        The names of the migrations applied now.

    Raises:
        StartupError: The server cannot be reached, or lacks pgvector.
    """
    try:
        lock = await connect(settings)
    except UNREACHABLE as error:
        raise StartupError(f"The database at DATABASE_URL cannot be reached: {_reason(error)}.") from error
    except asyncpg.PostgresError as error:
        raise StartupError(f"The database at DATABASE_URL refuses: {error}.") from error
    try:
        # aerich takes no lock of its own: two upgrades at once would run each migration twice.
        await lock.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK, timeout=600)
        return await _upgrade(settings)
    except asyncpg.FeatureNotSupportedError as error:
        raise StartupError(f"The database server has no pgvector: {_reason(error)}.") from error
    finally:
        await asyncio.shield(lock.close())


async def _upgrade(settings: Settings) -> list[str]:
    async with Command(tortoise_config(settings), app="models", location=str(MIGRATIONS)) as command:
        await command.init()
        return await command.upgrade(run_in_transaction=True)
