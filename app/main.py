"""The HTTP service: `uvicorn app.main:app`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.api import (
    batches,
    collections,
    contents,
    documents,
    events,
    health,
    ingest,
    keys,
    metrics,
    search,
    stats,
    webhooks,
)
from app.api.api_keys import ApiKeys
from app.api.body_limit import BodyLimit
from app.api.cross_origin import SameOrigin
from app.api.errors import register_error_handlers
from app.api.known_hosts import KnownHosts
from app.api.openapi import with_schemas
from app.api.request_figures import CountRequests, RequestFigures
from app.api.rights import show_to_all
from app.core.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.misspelt import warn_of_misspelt
from app.core.process import collect_less, last_words, told_of_stop
from app.core.queue import broker
from app.errors import StartupError
from app.jobs.doorbell import Doorbell
from app.services.resources import open_api
from app.web.pages import add_pages


def create_app(settings: Settings) -> FastAPI:
    """The application, with nothing opened yet: that happens when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
        warn_of_misspelt()
        async with AsyncExitStack() as opened:
            try:
                app.state.resources = await opened.enter_async_context(open_api(settings))
            except StartupError as error:
                # An exception here comes out as a hundred lines of traceback, whatever it says.
                os._exit(last_words("api", str(error)))
            app.state.doorbell = await opened.enter_async_context(Doorbell(broker))
            opened.enter_context(told_of_stop(app.state.resources.events.end_all))
            yield

    # FastAPI, but with the assets of its pages in the package instead of on somebody's server.
    app = FastAPIOffline(
        title="Sluice",
        version=__version__,
        summary="Documents in at once, searchable in the background.",
        lifespan=lifespan,
    )
    app.openapi = with_schemas(app, has_keys=bool(settings.API_KEYS))  # type: ignore[method-assign]
    show_to_all(app.routes)  # Until now, those that describe the calls.
    app.add_middleware(SameOrigin)
    app.add_middleware(ApiKeys, keys=settings.API_KEYS)
    if not settings.API_KEYS:
        app.add_middleware(KnownHosts, names=settings.ALLOWED_HOSTS)
    app.add_middleware(BodyLimit, patience_s=settings.BODY_PATIENCE_S)
    app.state.requests = RequestFigures()
    app.add_middleware(CountRequests, figures=app.state.requests)
    register_error_handlers(app)
    for module in (
        ingest,
        batches,
        documents,
        contents,
        events,
        collections,
        search,
        stats,
        webhooks,
        keys,
        health,
        metrics,
    ):
        # Not `include_router`, which matches every call's path once more for each router before its own.
        app.router.routes.extend(module.router.routes)
    add_pages(app)
    return app


app = create_app(get_settings())
collect_less()  # All that stays is loaded by now.
