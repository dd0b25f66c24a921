"""An embedder behind HTTP: any service that answers `POST /v1/embeddings` as OpenAI's does."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, Protocol

import anyio
import httpx
import numpy as np
import structlog
from numpy.typing import NDArray

from app.embedding.protocol import TextKind, offsets_of
from app.embedding.token_estimate import cut_to_estimate, estimate_token_offsets
from app.errors import EmbedderRefused, EmbedderUnavailable, StartupError

log = structlog.get_logger(__name__)

#: Sent in place of a blank text. Most services refuse an empty input, some trim the white space first, and
#: then the whole request fails; every tokenizer knows the full stop.
BLANK: Final = "."

#: What passes by itself: request timeout, conflict, too early, rate limit. So does every 5xx.
PASSING: Final = frozenset({408, 409, 425, 429})

#: Wrong key, no credit left, not allowed, proxy's password: somebody has to mend it, no document is at fault.
MENDABLE: Final = frozenset({401, 402, 403, 407})

#: More than any vector needs, so that a service gone mad cannot fill the memory.
MAX_ANSWER_BYTES_PER_TEXT: Final = 512 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_MESSAGE_CHARS: Final = 300

#: From a key this long on, its beginning alone is kept out of messages too: services quote keys cut short.
LONG_KEY: Final = 16

CONNECT_TIMEOUT_S: Final = 10.0


class Secret(Protocol):
    """What `pydantic.SecretStr` is."""

    def get_secret_value(self) -> str:
        """The secret itself."""
        ...


class _Answer(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes
    is_whole: bool


class _Setback(Exception):
    """This try failed, and the next one may not."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class OpenAIEmbedder:
    """Maps texts to vectors by HTTP. One instance per process, because it bounds the requests under way.

    A request that fails in a passing way (no connection, no answer in time, an answer that breaks off or is
    no embedding at all, 408, 409, 425, 429, 5xx) is tried again a few times within the call, as Retry-After
    says or after a growing pause. What takes longer than that is `EmbedderUnavailable`: then the document
    waits, and not a worker's slot.

    So are 401, 402, 403 and 407, at once: a wrong key or an empty account is a fault of the set-up, which its
    owner can mend while the documents wait. Refusing would fail each document of an import within seconds, to
    be sent again one by one. Every other 4xx is `EmbedderRefused`, as is a redirect, which means a wrong URL,
    and an answer whose vectors are unusable.

    Args of the constructor:
        url: Up to and including `/v1`.
        api_key: Sent as bearer token; kept out of errors and logs, also where the service repeats it.
        dimensions: What each vector must have.
        max_tokens: What a text may have by the estimate of `token_estimate`; what is longer is cut off.
        timeout_s: For one try.
        batch_size: Texts in one request at most.
        send_dimensions: Ask for vectors of `dimensions`; many services refuse the field.
        request_tokens: Estimated tokens in one request at most, unless a single text has more. OpenAI allows
            300,000, and the estimate may be a third of the truth in scripts that a vocabulary hardly knows.
        parallel_requests: Requests under way at most.
        tries: Of one request.
        backoff_s: The pause before the second try, doubled for each further one; shortened by up to half,
            at random.
        max_wait_s: A longer Retry-After is not waited for here.
        patience_s: For all tries of one request, unless `timeout_s` is longer.
    """

    computes_here = False

    def __init__(
        self,
        *,
        url: str,
        model: str,
        api_key: Secret | str | None,
        dimensions: int,
        max_tokens: int,
        timeout_s: float,
        batch_size: int,
        send_dimensions: bool = False,
        request_tokens: int = 100_000,
        parallel_requests: int = 4,
        tries: int = 3,
        backoff_s: float = 0.25,
        max_wait_s: float = 20,
        patience_s: float = 30,
    ) -> None:
        self.model = model
        self.dimensions = dimensions
        self.max_tokens = max_tokens
        self._endpoint, credentials = _endpoint(url)
        self._secrets = _Secrets(api_key, credentials)
        self._timeout_s = timeout_s
        self._batch_size = batch_size
        self._send_dimensions = send_dimensions
        self._request_tokens = request_tokens
        self._parallel_requests = parallel_requests
        self._slots = asyncio.Semaphore(parallel_requests)
        self._tries = tries
        self._backoff_s = backoff_s
        self._max_wait_s = max_wait_s
        self._patience_s = max(patience_s, timeout_s)
        self._opened: httpx.AsyncClient | None = None
        self._is_closed = False

    def token_offsets(self, text: str) -> NDArray[np.int32]:
        """An estimate; see `token_estimate` for the rule."""
        return offsets_of(estimate_token_offsets(text))

    async def embed(self, texts: Sequence[str], kind: TextKind = TextKind.DOCUMENT) -> NDArray[np.float32]:
        """See `Embedder.embed`; the interface knows no kinds, so questions and passages are treated alike.

        The first request that fails for good ends the others.
        """
        del kind
        client = self._client()
        batches = await asyncio.to_thread(self._batches, texts)
        parts = [np.empty((0, self.dimensions), np.float32) for _ in range(1 + len(batches))]

        async def embed(position: int, batch: list[str]) -> None:
            parts[position] = await self._embed_batch(client, batch)

        try:
            # Not asyncio's, here and below: httpcore shields its cleaning up from the cancellations of anyio
            # alone, and one that is cancelled in the middle of it is a connection fewer, for good.
            async with anyio.create_task_group() as group:
                for position, batch in enumerate(batches, 1):
                    group.start_soon(embed, position, batch)
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__
        return np.concatenate(parts)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        self._is_closed = True
        if self._opened is not None:
            await self._opened.aclose()

    def _batches(self, texts: Sequence[str]) -> list[list[str]]:
        batches: list[list[str]] = []
        room = 0
        for text in texts:
            cut, tokens = self._fit(text)
            if tokens > room or len(batches[-1]) == self._batch_size:
                batches.append([])
                room = self._request_tokens
            batches[-1].append(cut)
            room -= tokens
        return batches

    def _fit(self, text: str) -> tuple[str, int]:
        # Half a surrogate pair has no UTF-8, and would fail the request before it is sent.
        sendable = text.strip().encode("utf-8", "replace").decode() or BLANK
        return cut_to_estimate(sendable, self.max_tokens)

    async def _embed_batch(self, client: httpx.AsyncClient, texts: list[str]) -> NDArray[np.float32]:
        # The slot is kept during the pauses too: a service that asks for patience gets fewer requests.
        async with self._slots:
            deadline = _now() + self._patience_s
            tried = 0
            while True:
                tried += 1
                try:
                    return await self._try(client, texts, deadline)
                except _Setback as setback:
                    pause_s = self._pause_s(tried, setback)
                    if tried >= self._tries or pause_s is None or _now() + pause_s >= deadline:
                        raise EmbedderUnavailable(
                            setback.reason, retry_after_s=setback.retry_after_s
                        ) from setback.__cause__
                    log.warning("embedding_retried", reason=setback.reason, pause_s=round(pause_s, 2))
                await asyncio.sleep(pause_s)

    def _pause_s(self, tried: int, setback: _Setback) -> float | None:
        """How long to wait before the next try; None when that is too long for us."""
        # Requests that failed together must not come back together.
        jitter = random.uniform(0.5, 1)  # noqa: S311 - Nothing is secret about it.
        backoff_s = self._backoff_s * 2.0 ** (tried - 1) * jitter
        if setback.retry_after_s is None:
            return backoff_s
        return None if setback.retry_after_s > self._max_wait_s else setback.retry_after_s + backoff_s

    async def _try(self, client: httpx.AsyncClient, texts: list[str], deadline: float) -> NDArray[np.float32]:
        try:
            # httpx bounds the gaps between bytes and not the whole: a service that drips would never end.
            with anyio.fail_after(min(self._timeout_s, max(deadline - _now(), 0))):
                answer = await self._post(client, texts)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _Setback(f"no answer from {self._host} in time.") from error
        except httpx.RequestError as error:
            cause = self._secrets.redacted(str(error)) or type(error).__name__
            raise _Setback(f"{self._host} does not answer ({cause}).") from error
        if not httpx.codes.is_success(answer.status):
            raise self._failure(answer)
        if not answer.is_whole:
            raise EmbedderRefused("its answer is far too large for the vectors of so many texts.")
        # Two megabytes of digits take long enough to read to be felt on the event loop.
        return await asyncio.to_thread(self._vectors, answer.body, len(texts))

    async def _post(self, client: httpx.AsyncClient, texts: list[str]) -> _Answer:
        payload: dict[str, object] = {"model": self.model, "input": texts}
        if self._send_dimensions:
            payload["dimensions"] = self.dimensions
        async with client.stream("POST", self._endpoint, json=payload) as response:
            limit = len(texts) * MAX_ANSWER_BYTES_PER_TEXT if response.is_success else MAX_ERROR_BYTES
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > limit:
                    break
            return _Answer(response.status_code, response.headers, bytes(body[:limit]), len(body) <= limit)

    def _client(self) -> httpx.AsyncClient:
        """Opened at the first call, because connections belong to the running loop."""
        if self._is_closed:
            raise RuntimeError("The embedder is closed.")
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                headers=self._secrets.headers,
                auth=self._secrets.auth,
                timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_TIMEOUT_S, self._timeout_s)),
                limits=httpx.Limits(
                    max_connections=self._parallel_requests, max_keepalive_connections=self._parallel_requests
                ),
                # HTTPS_PROXY and SSL_CERT_FILE are how companies get outside; no proxy gets back in here.
                trust_env=self._endpoint.host not in {"localhost", "127.0.0.1", "::1"},
            )
        return self._opened

    @property
    def _host(self) -> str:
        return f"{self._endpoint.scheme}://{self._endpoint.netloc.decode('ascii')}"

    def _failure(self, answer: _Answer) -> Exception:
        message = self._secrets.redacted(_message(answer.body))
        said = f"it answered {answer.status} ({message or httpx.codes.get_reason_phrase(answer.status)})."
        if answer.status in PASSING or answer.status >= 500:
            return _Setback(said, retry_after_s=_retry_after_s(answer.headers))
        if answer.status in MENDABLE:
            return EmbedderUnavailable(f"{said} Check EMBEDDER_API_KEY and the account behind it.")
        return EmbedderRefused(said)

    def _vectors(self, body: bytes, count: int) -> NDArray[np.float32]:
        items = _items(body, count)
        vectors = np.empty((count, self.dimensions), np.float64)
        for row, item in enumerate(items):
            vector = _numbers(item)
            if vector.shape != (self.dimensions,):
                raise EmbedderRefused(
                    f"its vectors have {vector.size} dimensions and EMBEDDER_DIMENSIONS is {self.dimensions}."
                )
            vectors[row] = vector
        return _normalised(vectors)


class _Secrets:
    """What goes into each request and nowhere else."""

    def __init__(self, api_key: Secret | str | None, credentials: tuple[str, str] | None) -> None:
        key = api_key if isinstance(api_key, str) or api_key is None else api_key.get_secret_value()
        # httpx prints headers with this one masked.
        self.headers = httpx.Headers({"Authorization": f"Bearer {_sendable(key)}"} if key else {})
        self.auth = httpx.BasicAuth(*credentials) if credentials and not key else None
        hidden = [secret for secret in (key, credentials and credentials[1]) if secret]
        beginnings = [re.escape(secret[:8]) + r"[^\s\"']*" for secret in hidden if len(secret) >= LONG_KEY]
        self._pattern = re.compile("|".join([*map(re.escape, hidden), *beginnings]) or r"(?!)")

    def redacted(self, message: str) -> str:
        """One line, without secrets, and short; in this order, so that none is cut in two and overlooked."""
        line = " ".join(self._pattern.sub("[key]", message).split())
        return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def _sendable(key: str) -> str:
    if not (key.isascii() and key.isprintable() and " " not in key):
        # Said here, because the HTTP library would print the whole header.
        raise StartupError("EMBEDDER_API_KEY holds white space, or characters that no HTTP header can carry.")
    return key


def _endpoint(url: str) -> tuple[httpx.URL, tuple[str, str] | None]:
    """Where to send requests, and the name and password that stood in the URL, which httpx would log."""
    try:
        given = httpx.URL(url.rstrip("/") + "/embeddings")
    except httpx.InvalidURL:
        raise StartupError("EMBEDDER_URL is no URL.") from None
    credentials = (given.username, given.password) if given.userinfo else None
    return given.copy_with(userinfo=b""), credentials


def _now() -> float:
    return asyncio.get_running_loop().time()


def _message(body: bytes) -> str:
    """What the service says is wrong, in whichever of the usual places it says so."""
    text = body.decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for field in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(field):
            said = said[field]
    return said if isinstance(said, str) else json.dumps(said)


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Source: RFC 9110, section 10.2.3; seconds, or a date."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return float(value)
    until = _date(value)
    if until is None:
        return None
    # By the service's own clock where it tells us, since ours may be wrong.
    return max((until - (_date(headers.get("Date", "")) or datetime.now(UTC))).total_seconds(), 0)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _items(body: bytes, count: int) -> list[object]:
    """The `embedding` of each text, in the order of the texts.

    Raises:
        _Setback: It is no list of embeddings: gateways answer 200 with a page or an error of their own.
        EmbedderRefused: It is, and it does not fit the request.
    """
    try:
        data = json.loads(body)["data"]
    except (ValueError, TypeError, KeyError, RecursionError):
        data = None
    if not isinstance(data, list):
        raise _Setback("its answer is no list of embeddings.")
    by_index = {_index(item, position): item for position, item in enumerate(data)}
    if len(data) != count or by_index.keys() != set(range(count)):
        raise EmbedderRefused(f"it answered {len(data)} vectors for {count} texts, or numbered them wrongly.")
    return [_embedding(by_index[index]) for index in range(count)]


def _index(item: object, position: int) -> int:
    # Some services leave it out, and answer in order.
    index = item.get("index") if isinstance(item, dict) else None
    return position if index is None else index if isinstance(index, int) else -1


def _embedding(item: object) -> object:
    return item.get("embedding") if isinstance(item, dict) else None


def _numbers(embedding: object) -> NDArray[np.float64]:
    """A list of numbers, or little-endian float32 in base64 (`encoding_format`)."""
    try:
        if isinstance(embedding, str):
            raw = base64.b64decode(embedding, validate=True)
            return np.frombuffer(raw, "<f4").astype(np.float64)
        if isinstance(embedding, list):
            return np.asarray(embedding, np.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    raise EmbedderRefused("its answer holds a vector that is no list of numbers.")


def _normalised(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise EmbedderRefused(
            "its answer holds a vector without a length: not a number, infinite, or all zero."
        )
    unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit
