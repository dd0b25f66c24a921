"""The models of all collections: each is opened when it is first needed, and stays open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from app.core.config import EmbedderName, Settings
from app.embedding.hash import HashEmbedder
from app.embedding.protocol import Embedder
from app.errors import EmbedderMissing, ModelUnavailable, StartupError
from app.models.collection import Collection
from app.models.vector_space import VectorSpace

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder with the space that its vectors are in."""

    space_id: int
    embedder: Embedder


class Embedders:
    """What can be opened here. `opened` makes one.

    Args of the constructor:
        default: Of collections that nobody chose an embedder for,
        name: and what the settings call it.
        open_named: Makes the embedder of a name, as the settings have it.
        open_again: Makes the embedder of a space, whatever the settings are now.
    """

    def __init__(
        self,
        default: Model,
        *,
        name: EmbedderName,
        open_named: Callable[[EmbedderName], Awaitable[Embedder]],
        open_again: Callable[[VectorSpace], Awaitable[Embedder]],
    ) -> None:
        self.default = default
        self._name = name
        self._open_named = open_named
        self._open_again = open_again
        self._models: dict[int, Model] = {default.space_id: default}
        self._opening: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, collection: Collection) -> Model:
        """The collection's own; it is settled in the default one's space if it is in none.

        Raises:
            ModelUnavailable: It cannot be opened here.
        """
        if collection.space_id is None:
            collection = await Collection.settled(collection.name, self.default.space_id)
        assert collection.space_id is not None
        return await self.of_space(collection.space_id)

    async def of_space(self, space_id: int) -> Model:
        """The one whose vectors are in the space.

        Raises:
            ModelUnavailable: It cannot be opened here.
        """
        async with self._opening[space_id]:
            if space_id not in self._models:
                space = await VectorSpace.get(id=space_id)
                try:
                    self._models[space_id] = Model(space_id, await self._open_again(space))
                except StartupError as error:
                    log.warning("embedder_not_opened", embedder=space.embedder, reason=str(error))
                    raise ModelUnavailable(space.model, error.outside) from error
        return self._models[space_id]

    async def space_of(self, name: EmbedderName) -> VectorSpace:
        """The space of what the settings have under this name; made if it is new.

        Raises:
            EmbedderMissing: This process is not set up for it.
        """
        if name == self._name:
            return await VectorSpace.get(id=self.default.space_id)
        try:
            embedder = await self._open_named(name)
        except StartupError as error:
            log.warning("embedder_not_opened", embedder=name, reason=str(error))
            raise EmbedderMissing(name, error.outside) from error
        try:
            return await VectorSpace.adopt(name, embedder.model, embedder.dimensions)
        finally:
            await embedder.close()

    async def close(self) -> None:
        """Close all that were opened."""
        for model in self._models.values():
            await model.embedder.close()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Embedders]:
    """All embedders, for as long as the block lasts; the one of EMBEDDER is open from the start.

    Raises:
        StartupError: That one cannot be opened.
    """

    async def open_named(name: EmbedderName) -> Embedder:
        return await _open(settings, name, settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS)

    async def open_again(space: VectorSpace) -> Embedder:
        return await _open(settings, space.embedder, space.model, space.dimensions)

    embedder = await open_named(settings.EMBEDDER)
    try:
        space = await VectorSpace.adopt(settings.EMBEDDER, embedder.model, embedder.dimensions)
    except BaseException:
        await embedder.close()
        raise
    embedders = Embedders(
        Model(space.id, embedder), name=settings.EMBEDDER, open_named=open_named, open_again=open_again
    )
    try:
        yield embedders
    finally:
        await embedders.close()


async def _open(settings: Settings, name: str, model: str, dimensions: int) -> Embedder:
    # Imported only where they are used: two load a model's runtime, the third an HTTP client.
    if name == "minilm":
        from app.embedding.minilm import MiniLMEmbedder  # noqa: PLC0415

        return await MiniLMEmbedder.open(
            cache_dir=settings.MODEL_CACHE_DIR, threads=settings.EMBEDDER_THREADS
        )
    if name == "static":
        from app.embedding.static import StaticEmbedder  # noqa: PLC0415

        return await StaticEmbedder.open()
    if name == "openai":
        from app.embedding.openai import OpenAIEmbedder  # noqa: PLC0415

        if settings.EMBEDDER_API_KEY is None and "EMBEDDER_URL" not in settings.model_fields_set:
            raise StartupError("EMBEDDER=openai needs EMBEDDER_API_KEY, or an EMBEDDER_URL that needs none.")
        return OpenAIEmbedder(
            url=settings.EMBEDDER_URL,
            model=model,
            api_key=settings.EMBEDDER_API_KEY,
            dimensions=dimensions,
            max_tokens=settings.EMBEDDER_MAX_TOKENS,
            timeout_s=settings.EMBEDDER_TIMEOUT_S,
            batch_size=settings.EMBEDDER_BATCH_SIZE,
        )
    return HashEmbedder()
