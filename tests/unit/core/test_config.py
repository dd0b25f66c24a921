"""Settings are refused with their name and the reason, and keep their secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.config import Settings, get_settings
from app.errors import StartupError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def settings_of(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return get_settings.__wrapped__()


def test_settings_alone_give_the_redis_url() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from app.core.config import Settings; print(Settings().REDIS_URL)"],
        cwd=ROOT,
        env={"REDIS_URL": "redis://queue:6379/3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "redis://queue:6379/3\n"


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("API_PORT=9000\nAPI_HOST=127.0.0.2\nPOSTGRES_PASSWORD=x\n")
    settings = settings_of(monkeypatch, API_PORT="9001")
    assert (settings.API_PORT, settings.API_HOST) == (9001, "127.0.0.2")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"REDIS_URL": "http://queue"}, "REDIS_URL: must begin with redis://"),
        (
            {"DATABASE_URL": "mysql://u:hunter2@db/x"},
            "DATABASE_URL: must begin with postgres://",
        ),
        ({"DATABASE_URL": "postgres://db/x?pool=3"}, "has parameters that are not understood: pool"),
        ({"ALLOWED_HOSTS": "docs.example.org, https://x"}, "ALLOWED_HOSTS: must be names such as"),
        ({"API_PORT": "many"}, "API_PORT: Input should be a valid integer"),
        ({"STORAGE_URL": "gs://bucket"}, "STORAGE_URL: must begin with file://"),
        ({"STORAGE_URL": "s3://key:hunter2@bucket"}, "STORAGE_URL: must begin with file://"),
        ({"AWS_ENDPOINT_URL": "http://key:hunter2@store:9000"}, "AWS_ENDPOINT_URL: must not hold a name"),
        ({"AWS_ENDPOINT_URL": "store:9000"}, "AWS_ENDPOINT_URL: must begin with http://"),
        ({"EMBEDDER": "word2vec"}, "EMBEDDER: Input should be 'minilm', 'static', 'openai' or 'hash'"),
        ({"EMBEDDER_URL": "localhost"}, "EMBEDDER_URL: must begin with http://"),
        ({"CHUNK_OVERLAP_TOKENS": "150"}, "CHUNK_OVERLAP_TOKENS must be at most half of CHUNK_TOKENS"),
        ({"API_KEYS": "hunter2"}, "API_KEYS: must be keys of 20 to 200 letters"),
        ({"API_KEYS": f"{'k' * 20},"}, "API_KEYS: must be keys of 20 to 200 letters"),
        ({"API_KEYS": f"{'k' * 20} {'l' * 20}"}, "API_KEYS: must be keys of 20 to 200 letters"),
        ({"BEAT_S": "20"}, "BEAT_S must be at most half of LEASE_S"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_never_echoed(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], told: str
) -> None:
    with pytest.raises(StartupError) as refused:
        settings_of(monkeypatch, **values)
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_settings_are_frozen_and_show_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch,
        DATABASE_URL="postgresql://u:hunter2@db/x",
        REDIS_URL="redis://:hunter2@queue",
        EMBEDDER_API_KEY="hunter2",
        STORAGE_URL="s3://bucket/one/two",
        AWS_SECRET_ACCESS_KEY="hunter2",
        AWS_SESSION_TOKEN="hunter2",
        API_KEYS="hunter2-hunter2-hunter2, another-hunter2-another",
    )
    assert [len(key.get_secret_value()) for key in settings.API_KEYS] == [23, 23]
    assert "hunter2" not in repr(settings)
    assert settings.DATABASE_URL == "postgres://u:hunter2@db/x"
    with pytest.raises(ValidationError):
        settings.API_PORT = 1  # type: ignore[misc]
