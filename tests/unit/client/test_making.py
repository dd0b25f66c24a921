"""What holds the client's parts together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app import errors
from app.api.errors import STATUS, status_of
from app.client import AsyncSluice, Item, Retries, Sluice
from app.client import errors as client_errors
from app.client.batches import Grouping, kind_of
from app.client.errors import BY_CODE, PermanentError, TransientError
from app.client.items import Entry
from app.client.making import TARGET, modules
from app.client.settings import BadSettings, ClientSettings

SERVER = (
    "tortoise",
    "asyncpg",
    "dramatiq",
    "redis",
    "fastapi",
    "starlette",
    "pydantic_settings",
    "structlog",
)


def test_the_client_for_threads_is_made_from_the_one_for_asyncio() -> None:
    for name, source in modules().items():
        assert (TARGET / name).read_text() == source, f"{name}: run python -m app.client.making"


def test_importing_the_client_brings_nothing_of_the_server() -> None:
    look = f"import sys, app.client; print(*[name for name in {SERVER} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_both_clients_have_the_same_methods() -> None:
    assert public(Sluice) == public(AsyncSluice)


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", STATUS)
def test_an_error_of_the_server_has_its_name_and_family_in_the_client(
    kind: type[errors.ServiceError],
) -> None:
    told = BY_CODE[kind.code]
    family = TransientError if kind.retryable else PermanentError
    assert issubclass(told, family), f"{status_of(kind)} {kind.code}"
    assert told.__name__ == kind.__name__


def test_every_error_of_the_client_says_what_to_do() -> None:
    own = {kind for kind in BY_CODE.values() if kind.code not in {each.code for each in STATUS}}
    assert all(kind.hint for kind in own - {BadSettings})


def test_an_error_that_is_newer_than_the_client_belongs_to_the_family_that_the_server_names() -> None:
    assert client_errors.of_code("moon_in_the_way", retryable=True) is TransientError
    assert client_errors.of_code("moon_in_the_way", retryable=False) is PermanentError


# --- Where the server is -----------------------------------------------------------------------------------


def test_the_url_comes_from_the_argument_then_the_environment_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SLUICE_URL", raising=False)
    assert ClientSettings.load().url == "http://127.0.0.1:8000"
    (tmp_path / "sluice").mkdir()
    (tmp_path / "sluice/config.toml").write_text('url = "http://file:1/"\napi_key = "k"\n')
    assert ClientSettings.load() == ClientSettings("http://file:1", "k")
    monkeypatch.setenv("SLUICE_URL", "http://environment:2")
    assert ClientSettings.load().url == "http://environment:2"
    assert ClientSettings.load("https://argument").url == "https://argument"
    assert (
        "k"
        not in repr(ClientSettings.load()).split("url")[0] + repr(ClientSettings("http://a", "secret"))[-20:]
    )


@pytest.mark.parametrize("text", ["url = 7", "urls = 'http://a'", "url = ", "\x00"])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "sluice").mkdir()
    (tmp_path / "sluice/config.toml").write_text(text)
    with pytest.raises(BadSettings, match=r"config\.toml"):
        ClientSettings.load()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://", "http://a:b", "http://a:99999"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="no URL"):
        ClientSettings.load(url)


# --- How often, and what together --------------------------------------------------------------------------


def test_pauses_double_and_end() -> None:
    retries = Retries(tries=4, first_pause_s=1, longest_pause_s=3)
    bounds = [(0.5, 1), (1, 2), (1.5, 3)]
    for tries, (least, most) in enumerate(bounds, start=1):
        assert least <= (retries.pause_s(tries) or 0) <= most
    assert retries.pause_s(4) is None


def test_a_server_that_asks_for_time_gets_it_or_an_error() -> None:
    retries = Retries(longest_wait_s=60)
    assert 5 <= (retries.pause_s(1, asked_s=5) or 0) <= 5.25
    assert retries.pause_s(1, asked_s=61) is None


@pytest.mark.parametrize(
    ("item", "shape"),
    [
        (Item(text="a"), "lines"),
        (Item(text="a", external_id="x/y", title="T", metadata={"a": 1}), "lines"),
        (Item(content=b"a", name="a.md"), "form"),
        (Item(content=b"a", external_id="docs/a.md"), "form"),
        (Item(content=b"a", name="a.md", external_id="docs/a.md"), "form"),
        (Item(content=b"a", name="b.md", external_id="docs/a.md"), "single"),
        (Item(content=b"a", name="a.md", title="T"), "single"),
        (Item(content=b"a", name='a"b.md'), "single"),
        (Item(content=b"a", external_id="100%22.md"), "single"),
        (Item(content=b"a", external_id="100%25.md"), "form"),
        (Item(content=b"a", name="a\udcff.md"), "single"),
        (Item(path="/large"), "single"),
    ],
)
def test_what_a_form_or_a_line_cannot_say_goes_by_itself(item: Item, shape: str) -> None:
    assert kind_of(item)[0] == shape


def test_groups_are_bounded_and_lose_nothing() -> None:
    items = [Item(text="x" * (n * 997 % 70_000), collection=str(n % 7)) for n in range(1000)]
    items += [Item(content=b"x", name=f"{n}.md", collection=str(n % 9)) for n in range(1000)]
    grouping = Grouping()
    groups = [group for n, item in enumerate(items) for group in grouping.add(Entry(n, item, item))]
    groups += grouping.rest()
    assert sorted(entry.index for group in groups for entry in group.entries) == list(range(len(items)))
    assert all(len(group.entries) <= 400 and group.size_bytes < 8 * 1024**2 + 70_000 for group in groups)
    assert len(groups) < len(items) / 10
