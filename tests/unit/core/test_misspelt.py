"""A setting with a slip in its name is told of; the variables of other programs are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.misspelt import misspelt, warn_of_misspelt


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("API_KEY", "API_KEYS"),
        ("api_port", "API_PORT"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("EMBEDER", "EMBEDDER"),
        ("MAX_UPLOAD_BYTE", "MAX_UPLOAD_BYTES"),
        ("LEASES_S", "LEASE_S"),
    ],
)
def test_a_slip_is_found(name: str, setting: str) -> None:
    assert setting in Settings.model_fields
    assert misspelt([name]) == {name: setting}


def test_settings_and_what_other_programs_read_are_none() -> None:
    others = ["PATH", "HOME", "LANG", "POSTGRES_PASSWORD", "AWS_DEFAULT_REGION", "AWS_PROFILE", "SLUICE_URL"]
    others += ["SLUICE_API_KEY", "SLUICE_CORPORA", "UVICORN_PORT", "OPENAI_API_KEY", "PORT", "DEBUG"]
    assert misspelt([*Settings.model_fields, *others]) == {}


def test_the_log_says_what_may_have_been_meant_and_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("API_KEY=a-secret-of-twenty-letters\nCOMPOSE_PROJECT_NAME=docs\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDER", "static")
    with capture_logs() as logs:
        warn_of_misspelt()

    assert [(log["name"], log["did_you_mean"]) for log in logs] == [
        ("API_KEY", "API_KEYS"),
        ("EMBEDER", "EMBEDDER"),
    ]
    assert "secret" not in str(logs)
