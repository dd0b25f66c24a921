"""What a person can set or be told is explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import errors
from app.core.config import Settings

ROOT = Path(__file__).parents[2]


def every(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every(child)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_explained_with_its_default(name: str) -> None:
    lines = (ROOT / "docs/configuration.md").read_text().splitlines()
    line = next((line for line in lines if line.startswith(f"| `{name}` |")), "")
    default = Settings.model_fields[name].default
    assert line, f"{name} is not in docs/configuration.md"
    assert f"`{default}`" in line or default in (None, ()), line


@pytest.mark.parametrize("code", sorted({kind.code for kind in every(errors.ServiceError)}))
def test_an_error_code_is_explained(code: str) -> None:
    assert f"`{code}`" in (ROOT / "docs/errors.md").read_text()


def test_the_example_environment_names_only_settings_and_compose_variables() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {line.lstrip("# ").split("=")[0] for line in lines if "=" in line}
    assert names <= Settings.model_fields.keys() | {"POSTGRES_PASSWORD"}
    assert "REDIS_URL=redis://localhost:6379/0" in lines


def test_alerts_ask_for_metrics_that_are_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    asked = set(re.findall(r"\bsluice_\w+", (ROOT / "docs/alerts.yml").read_text()))
    assert asked <= explained
