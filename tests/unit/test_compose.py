"""docker-compose.yml is a valid Compose file with the services and their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).parents[2]


@pytest.fixture
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


def test_the_compose_specification_accepts_the_file(compose: dict[str, Any]) -> None:
    # The library takes what the engine is sent: anchors, merges and variables resolved.
    resolved = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", yaml.safe_dump(compose))
    assert PyCompose.from_yaml(resolved) is not None
    with pytest.raises(ValueError, match="ports"):
        PyCompose.from_yaml(resolved.replace("127.0.0.1:6379", "localhost:port"))


def test_it_has_database_redis_migration_api_and_worker(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services.keys() == {"db", "redis", "migrate", "api", "worker"}
    assert services["redis"]["image"] == "redis:alpine"
    assert services["redis"]["ports"] == ["127.0.0.1:6379:6379"]
    assert services["db"]["image"].startswith("pgvector/pgvector:")


def test_each_service_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    needs = {
        name: {on: how["condition"] for on, how in service.get("depends_on", {}).items()}
        for name, service in compose["services"].items()
    }
    assert needs["migrate"] == {"db": "service_healthy"}
    for name in ("api", "worker"):
        assert needs[name]["migrate"] == "service_completed_successfully"
        assert needs[name]["db"] == "service_healthy"
    assert all("healthcheck" in compose["services"][name] for name in ("db", "redis", "api"))


def test_only_the_loopback_is_bound_unless_told_otherwise(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith(("127.0.0.1:", "${API_BIND:-127.0.0.1}:")) for port in ports)


def test_the_image_is_built_from_files_that_are_there() -> None:
    copied = [
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert all(f"!{name}" in ignored for name in copied)
