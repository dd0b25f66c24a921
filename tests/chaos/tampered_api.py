"""`uvicorn tests.chaos.tampered_api:app`: the API, with what CHAOS_TAMPER names changed inside."""

from tests.chaos.tampering import tamper

tamper()

from app.main import app  # noqa: E402  # What is changed has to be first.

__all__ = ["app"]
