"""`sluice keys`, on a server that has API_KEYS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import cli
from app.client import Retries, Sluice, errors
from tests.keys import OWNER
from tests.processes import APIProcess, api_process


@pytest.fixture(scope="module")
def api(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIProcess]:
    folder = tmp_path_factory.mktemp("api")
    settings = {"STORAGE_URL": f"file://{folder / 'content'}", "API_KEYS": OWNER}
    with api_process(settings, folder / "log") as process:
        yield process


def typed(api: APIProcess, *words: object, key: str = OWNER) -> Result:
    environment = {"SLUICE_URL": api.url, "SLUICE_API_KEY": key}
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment)


def listed(api: APIProcess) -> dict[str, dict[str, Any]]:
    """By their names."""
    return {each["name"]: each for each in json.loads(typed(api, "keys", "list", "--json").stdout)}


def test_a_key_is_made_used_listed_and_removed(api: APIProcess) -> None:
    made = typed(
        api, "keys", "add", "search page", "-c", "wiki", "-c", "canal", "--read-only", "--expires", "90d"
    )
    secret = made.stdout.strip()
    key = listed(api)["search page"]
    ends = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)

    assert secret.startswith(key["begins"])
    assert (key["collections"], key["may_write"]) == (["canal", "wiki"], False)
    assert timedelta(days=89, hours=23) < ends < timedelta(days=90)
    assert f"{key['key_id']} reads canal, wiki until " in made.stderr

    with Sluice(api.url, api_key=secret, retries=Retries(tries=1)) as sluice:
        assert list(sluice.documents()) == []
        with pytest.raises(errors.Forbidden, match="may only read"):
            sluice.ingest(text="The upper gate opens at six.", collection="wiki")
        with pytest.raises(errors.Forbidden, match="opens all collections") as refused:
            sluice.stats()
        assert "'canal', 'wiki'" in refused.value.hint
        shown = typed(api, "keys", "list").stdout
        head, row = shown.splitlines()
        assert head.split() == ["id", "name", "begins", "opens", "may", "expires", "used"]
        assert row.startswith(f"{key['key_id']}  search page")
        assert f"{key['begins']}…" in shown
        assert secret not in shown + api.log

        removed = typed(api, "keys", "remove", key["key_id"], "--yes")
        assert (removed.exit_code, removed.stdout) == (0, "The key of search page opens nothing any more.\n")
        with pytest.raises(errors.Unauthorized):
            list(sluice.documents())
    assert "search page" not in listed(api)


def test_a_key_without_limits_is_told_as_such(api: APIProcess) -> None:
    made = json.loads(typed(api, "keys", "add", "colleague", "--json").stdout)

    assert (made["collections"], made["may_write"], made["expires_at"]) == (None, True, None)
    refused = typed(api, "keys", "add", "another", key=made["secret"])
    assert refused.exit_code == 1
    assert "API_KEYS" in refused.stderr
    assert typed(api, "keys", "remove", made["key_id"], "--yes").exit_code == 0
    again = typed(api, "keys", "remove", made["key_id"], "--yes")
    assert (again.exit_code, "There is no key" in again.stderr) == (1, True)


@pytest.mark.parametrize("expires", ["soon", "90", "-1d", "0d", "2020-01-31", "9" * 20 + "d"])
def test_an_end_that_cannot_be_makes_no_key(api: APIProcess, expires: str) -> None:
    answer = typed(api, "keys", "add", "nobody", "--expires", expires)

    assert answer.exit_code == 2
    assert expires in answer.stderr
    assert "nobody" not in listed(api)


def test_commands_about_all_are_about_what_the_key_opens(api: APIProcess) -> None:
    secret = json.loads(typed(api, "keys", "add", "tenant", "-c", "mine", "--json").stdout)["secret"]
    with Sluice(api.url, api_key=OWNER) as owner:
        ids = [owner.ingest(text="Gates.", collection=name).document_id for name in ("mine", "theirs")]

        assert "1 document cancelled" in typed(api, "cancel", "--all", "--yes", key=secret).output
        assert [owner.document(each).status for each in ids] == ["FAILED", "PENDING"]
    answer = typed(api, "status", key=secret)
    assert (answer.exit_code, "This key opens 'mine'." in answer.stderr) == (1, True)
