"""Imports point down: nobody knows who uses him."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"

# From the top down; what stands in one line may be used by the lines above it, and by its own package.
LAYERS = [
    {"main", "cli"},
    {"web"},
    {"client"},
    {"api"},
    {"jobs"},
    {"schemas"},
    {"services"},
    {"embedded"},
    {"search", "storage", "chunking", "embedding"},
    {"parsing"},
    {"models"},
    {"words"},
    {"core"},
    {"errors"},
]
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}

# Taken along by other people's programs, so alone.
ALONE = "client"

# These work on plain values: no settings, no tables.
PURE = {"parsing", "chunking", "embedding", "storage", "words"}


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, its package, a package that it imports)"""
    for path in APP.rglob("*.py"):
        package = path.relative_to(APP).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
                if node.module == "app":
                    modules = [f"app.{name.name}" for name in node.names]
            for module in modules:
                parts = module.split(".")
                if parts[0] == "app" and len(parts) > 1:
                    yield str(path.relative_to(APP)), package, parts[1]


@pytest.mark.parametrize(("file", "package", "imported"), sorted(set(imports())))
def test_a_module_imports_only_what_is_below_it(file: str, package: str, imported: str) -> None:
    if package != "__init__" and imported in LEVEL and imported != package:
        assert LEVEL[package] < LEVEL[imported], f"{file} ({package}) imports app.{imported}"


@pytest.mark.parametrize("package", sorted(PURE))
def test_the_steps_know_neither_settings_nor_tables(package: str) -> None:
    assert not {imported for _, of, imported in imports() if of == package} & {"core", "models"}


def test_the_client_knows_nothing_of_the_server() -> None:
    assert {imported for _, package, imported in imports() if package == ALONE} == {ALONE}


def test_every_package_has_its_layer() -> None:
    packages = {path.name.removesuffix(".py") for path in APP.iterdir() if not path.name.startswith("_")}
    assert packages <= LEVEL.keys()
