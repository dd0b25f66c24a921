"""docker-compose.yml is a valid Compose file with the services and their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from app.core.config import Settings

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


def test_what_dies_comes_back_and_what_is_stopped_has_time_for_it(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services.pop("migrate")["restart"] == "no"  # It has done its work.
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}
    grace_s = {
        name: int(service["stop_grace_period"].removesuffix("s")) for name, service in services.items()
    }
    assert grace_s["worker"] >= Settings.model_fields["SHUTDOWN_GRACE_S"].default + 15
    assert grace_s["api"] > 5
    assert min(grace_s.values()) > 10  # Docker's own patience.


def test_the_queue_forgets_nothing_by_itself(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
    }


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
