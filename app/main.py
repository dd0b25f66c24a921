"""The HTTP service: `uvicorn app.main:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app import __version__
from app.api import documents, health, ingest, search
from app.api.errors import register_error_handlers
from app.core.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.process import give_up
from app.errors import StartupError
from app.jobs.doorbell import Doorbell
from app.services.resources import open_api


def create_app(settings: Settings) -> FastAPI:
    """The application, with nothing opened yet: that happens when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
        async with AsyncExitStack() as opened:
            try:
                app.state.resources = await opened.enter_async_context(open_api(settings))
            except StartupError as error:
                give_up("api", str(error))
            app.state.doorbell = opened.enter_context(Doorbell())
            yield

    app = FastAPI(
        title="Sluice",
        version=__version__,
        summary="Documents in at once, searchable in the background.",
        lifespan=lifespan,
    )
    register_error_handlers(app)
    for module in (ingest, documents, search, health):
        app.include_router(module.router)
    return app


app = create_app(get_settings())
