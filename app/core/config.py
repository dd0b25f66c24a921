"""All settings of a process, from the environment or `.env`; nothing else reads the environment."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import StartupError

MEBIBYTE = 1024 * 1024

#: Of a key: what nobody can guess, if it is random, and what an HTTP header and a URL can carry.
KEY = re.compile(r"[!-+\--~]{20,200}", re.ASCII)

#: What a browser may take for the name of a host; or any.
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\*", re.ASCII)

#: Its credentials come from elsewhere.
BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w.-]+)*/?", re.ASCII)


EmbedderName = Literal["minilm", "static", "openai", "hash"]


class Settings(BaseSettings):
    """Frozen, upper-case, refused at start when a value is bad. docs/configuration.md explains each.

    The two URLs may carry passwords: they are left out of `repr`, and bad values are never echoed.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        case_sensitive=True,
        frozen=True,
        extra="ignore",  # `.env` is shared with docker compose, which has variables of its own.
        hide_input_in_errors=True,
        validate_default=True,
    )

    # Where things are.
    DATABASE_URL: str = Field(default="postgres://sluice:sluice@localhost:5432/sluice", repr=False)
    DATABASE_POOL_SIZE: int = Field(default=10, ge=2, le=200)
    REDIS_URL: str = Field(default="redis://localhost:6379/0", repr=False)
    STORAGE_URL: str = "file://.data/content"
    STORAGE_TIMEOUT_S: float = Field(default=30, ge=1, le=600)
    AWS_ENDPOINT_URL: str | None = None
    AWS_REGION: str | None = None
    AWS_ACCESS_KEY_ID: str | None = Field(default=None, repr=False)
    AWS_SECRET_ACCESS_KEY: SecretStr | None = None
    AWS_SESSION_TOKEN: SecretStr | None = None
    API_HOST: str = "127.0.0.1"
    API_PORT: int = Field(default=8000, ge=1, le=65535)

    # Who is let in: whoever has one of these; everybody, when there is none.
    API_KEYS: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    ALLOWED_HOSTS: Annotated[tuple[str, ...], NoDecode] = ()

    # What is accepted.
    MAX_UPLOAD_BYTES: int = Field(default=256 * MEBIBYTE, ge=1)
    MAX_JSON_BYTES: int = Field(default=32 * MEBIBYTE, ge=1)
    MAX_BATCH_ITEMS: int = Field(default=10_000, ge=1, le=100_000)
    MAX_BATCH_BYTES: int = Field(default=1024 * MEBIBYTE, ge=1)
    INLINE_CONTENT_BYTES: int = Field(default=64 * 1024, ge=0, le=8 * MEBIBYTE)
    BODY_PATIENCE_S: float = Field(default=60, gt=0, le=3600)

    # Parsing.
    PARSER_PROCESSES: int = Field(default=2, ge=1, le=64)
    PARSE_TIMEOUT_S: float = Field(default=120, gt=0, le=3600)
    PARSE_MEMORY_MB: int = Field(default=1024, ge=256)
    MAX_TEXT_CHARS: int = Field(default=20_000_000, ge=1)

    # Chunking.
    CHUNK_TOKENS: int = Field(default=256, ge=16, le=8192)
    CHUNK_OVERLAP_TOKENS: int = Field(default=32, ge=0)
    MAX_CHUNKS: int = Field(default=50_000, ge=1)

    # Embedding.
    EMBEDDER: EmbedderName = "minilm"
    EMBEDDER_URL: str = "https://api.openai.com/v1"
    EMBEDDER_MODEL: str = "text-embedding-3-small"
    EMBEDDER_API_KEY: SecretStr | None = None
    EMBEDDER_DIMENSIONS: int = Field(default=1536, ge=1, le=4000)
    EMBEDDER_MAX_TOKENS: int = Field(default=8191, ge=16)
    EMBEDDER_TIMEOUT_S: float = Field(default=30, gt=0, le=600)
    EMBEDDER_BATCH_SIZE: int = Field(default=64, ge=1, le=2048)
    EMBEDDER_THREADS: int = Field(default=1, ge=1, le=256)
    MODEL_CACHE_DIR: Path = Path(".data/models")

    # Search.
    INDEX_MEMORY_MB: int = Field(default=256, ge=64, le=65536)
    RERANKER_URL: str | None = None
    RERANKER_MODEL: str | None = None
    RERANKER_API_KEY: SecretStr | None = None
    RERANKER_TIMEOUT_S: float = Field(default=10, gt=0, le=600)

    # The promise: how long a worker may hold a document without a sign of life, and what happens then.
    LEASE_S: float = Field(default=30, ge=1, le=3600)
    BEAT_S: float = Field(default=10, ge=0.1, le=600)
    SWEEP_S: float = Field(default=5, ge=0.1, le=600)
    RETRY_BACKOFF_S: float = Field(default=10, ge=0.01, le=3600)
    SHUTDOWN_GRACE_S: float = Field(default=10, ge=0, le=600)
    WORKER_NICENESS: int = Field(default=5, ge=0, le=19)

    # Events.
    EVENTS_KEPT_H: float = Field(default=24, gt=0, le=24 * 365)
    WEBHOOKS_TO_PRIVATE_ADDRESSES: bool = False

    # Logs.
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["console", "json"] = "console"

    @field_validator("DATABASE_URL")
    @classmethod
    def _is_postgres(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"postgres", "postgresql", "asyncpg"}:
            raise ValueError("must begin with postgres://")
        unknown = set(parse_qs(urlsplit(url).query)) - {"host", "port", "ssl", "sslmode"}
        if unknown:
            raise ValueError(f"has parameters that are not understood: {', '.join(sorted(unknown))}")
        # Tortoise knows the first and the last name, everybody else writes the second too.
        return url.replace("postgresql://", "postgres://", 1)

    @field_validator("REDIS_URL")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return url

    @field_validator("API_KEYS", mode="before")
    @classmethod
    def _are_keys(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        keys = [key.strip() for key in given.split(",")]
        if keys == [""]:
            return ()
        if not all(KEY.fullmatch(key) for key in keys):
            raise ValueError(
                "must be keys of 20 to 200 letters, digits and signs, with commas between them;"
                " `openssl rand -hex 32` makes one"
            )
        return keys

    @field_validator("ALLOWED_HOSTS", mode="before")
    @classmethod
    def _are_names(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        names = [name.strip() for name in given.split(",") if name.strip()]
        if not all(HOST.fullmatch(name) for name in names):
            raise ValueError("must be names such as docs.example.org, with commas between them, or *")
        return names

    @field_validator("STORAGE_URL")
    @classmethod
    def _is_storage(cls, url: str) -> str:
        is_file = url.startswith("file://") and url != "file://"
        if not is_file and not BUCKET_URL.fullmatch(url):
            raise ValueError(
                "must begin with file:// and name a folder, or be s3://bucket or s3://bucket/prefix"
            )
        return url

    @field_validator("AWS_ENDPOINT_URL")
    @classmethod
    def _has_no_credentials(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("must not hold a name or a password")
        return url

    @field_validator("EMBEDDER_URL", "RERANKER_URL", "AWS_ENDPOINT_URL")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        return None if url is None else url.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.CHUNK_OVERLAP_TOKENS * 2 > self.CHUNK_TOKENS:
            raise ValueError("CHUNK_OVERLAP_TOKENS must be at most half of CHUNK_TOKENS")
        if self.BEAT_S * 2 > self.LEASE_S:
            raise ValueError("BEAT_S must be at most half of LEASE_S, or one late beat loses the lease")
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        StartupError: A value is missing or bad; the sentence names it and says why.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(
                filter(
                    None, [".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")]
                )
            )
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise StartupError(f"The settings are wrong: {problems}.") from None
