"""aerich's commands, as documented, against databases that are empty, full and on their way."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from aerich.cli import cli as aerich_command

from app.core.config import Settings, get_settings
from app.core.database import MIGRATIONS, migrate
from app.models.vector_parts import ENDLESS

ROOT = Path(__file__).parents[2]


def ask(url: str, query: str) -> list[asyncpg.Record]:
    async def asked() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()

    return asyncio.run(asked())


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """An empty database."""
    ask(settings.DATABASE_URL, "CREATE DATABASE to_migrate")
    yield f"{settings.DATABASE_URL.rpartition('/')[0]}/to_migrate"
    ask(settings.DATABASE_URL, "DROP DATABASE to_migrate WITH (FORCE)")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what aerich needs: a migration made by mistake is not made in the project."""
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def aerich(project: Path, url: str, *words: str) -> str:
    """What the command says, in a fork of this process: to import everything takes longer than the work."""
    with tempfile.TemporaryFile("w+") as said:
        command = multiprocessing.get_context("fork").Process(
            target=_run_aerich, args=(project, url, words, said.fileno())
        )
        command.start()
        command.join(60)
        said.seek(0)
        told = said.read()
    assert command.exitcode == 0, told
    return told


def _run_aerich(project: Path, url: str, words: Sequence[str], output_fd: int) -> None:
    for fd in (1, 2):
        os.dup2(output_fd, fd)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(project)
    os.environ["DATABASE_URL"] = url
    get_settings.cache_clear()
    aerich_command(words)


def columns(url: str, table: str = "documents") -> set[str]:
    rows = ask(url, f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")
    return {row["column_name"] for row in rows}


def test_upgrade_builds_an_empty_database_and_then_there_is_nothing_to_migrate(
    project: Path, url: str
) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("aerich"), "upgrade"],
        cwd=project,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    upgraded = done.stdout

    assert "0_20261124000000_init.py" in upgraded
    assert "1_20261124000100_document_status.py" in upgraded
    assert {"status", "processing_errors", "lease_expires_at", "attempt"} <= columns(url)
    assert columns(url, "chunks") >= {"gap", "char_start", "char_end", "page", "page_end", "headings"}
    before = sorted((project / "migrations/models").iterdir())
    assert "No changes detected" in aerich(project, url, "migrate")
    assert sorted((project / "migrations/models").iterdir()) == before


def test_the_status_came_to_an_earlier_table_in_a_step_of_its_own(project: Path, url: str) -> None:
    steps = sorted(
        (project / "migrations/models").glob("[1-9]*.py"), key=lambda step: int(step.name.partition("_")[0])
    )
    (project / "later").mkdir()
    for step in steps:
        step.rename(project / "later" / step.name)
    aerich(project, url, "upgrade")
    assert {"lease_expires_at", "attempt"} <= columns(url)
    assert not {"status", "processing_errors"} & columns(url)

    (project / "later" / steps[0].name).rename(steps[0])
    aerich(project, url, "upgrade")
    assert {"status", "processing_errors"} <= columns(url)


def fill(url: str) -> None:
    """A document in each status."""
    ask(
        url,
        """INSERT INTO documents (id, media_type, sha256, size_bytes, status, stage, completed_at, error,
                                  lease_owner, lease_expires_at, title, indexed_version, cited)
        SELECT gen_random_uuid(), 'text/plain', status, 1, status,
            CASE WHEN status IN ('PENDING', 'PROCESSING') THEN 'queued' END,
            CASE WHEN status = 'COMPLETED' THEN now() END, CASE WHEN status = 'FAILED' THEN '{}'::jsonb END,
            CASE WHEN status = 'PROCESSING' THEN 'w' END, CASE WHEN status = 'PROCESSING' THEN now() END,
            'Gates', CASE WHEN status = 'COMPLETED' THEN 1 END,
            CASE WHEN status = 'COMPLETED' THEN '{}'::jsonb END
        FROM unnest(ARRAY['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED']) AS status""",
    )


CHUNKS = ["The upper gate opens at six.", "at six.  The lower gate does not.", "Nobody knows why."]


def test_batches_and_signs_of_life_can_be_taken_back_and_applied_again_with_rows(
    project: Path, url: str
) -> None:
    aerich(project, url, "upgrade")
    fill(url)

    for _ in range(2):
        aerich(project, url, "downgrade", "--version", "5", "--yes")
        for table in ("workers", "document_events", "webhooks", "api_keys"):
            assert columns(url, table) == set()
        assert "patched_title" not in columns(url)
        assert "turn" not in columns(url)
        assert columns(url, "batches") == columns(url, "batch_items") == set()
        aerich(project, url, "upgrade")
        ask(
            url,
            """WITH batch AS (INSERT INTO batches (id) VALUES (gen_random_uuid()) RETURNING id)
            INSERT INTO batch_items (batch_id, index, document_id, created)
            SELECT batch.id, row_number() OVER (), documents.id, TRUE FROM batch, documents""",
        )
        rows = ask(url, "SELECT DISTINCT patched_title, patched_metadata FROM documents")
        assert [tuple(row) for row in rows] == [(False, False)]
        assert [row["turn"] for row in ask(url, "SELECT turn FROM documents ORDER BY turn")] == [0, 0, 0, 1]


def test_spaces_can_be_taken_back_and_applied_again_unless_there_are_two_in_use(
    project: Path, url: str
) -> None:
    aerich(project, url, "upgrade")
    fill(url)
    statements = """
        INSERT INTO vector_spaces (id, embedder, model, dimensions)
        VALUES (1, 'hash', 'hash-3', 3), (2, 'openai', 'three', 3);
        INSERT INTO collections (name, space_id) VALUES ('old', 1);
        UPDATE collections SET space_id = 2 WHERE name = 'default';
        CREATE INDEX chunk_vectors_space_1_0_9 ON chunk_vectors (chunk_id) WHERE space_id = 1;
        INSERT INTO vector_parts VALUES (1, 0, 9, 1, 'chunk_vectors_space_1_0_9');
        UPDATE documents SET chunk_count = 1, space_id = 2 WHERE status IN ('COMPLETED', 'FAILED');
        INSERT INTO chunk_vectors (chunk_id, space_id, document_id, embedding)
        SELECT row_number() OVER (), 2, id, '[0,0.5,0.5]' FROM documents WHERE chunk_count > 0;
        INSERT INTO chunk_vectors (chunk_id, space_id, document_id, embedding)
        SELECT 1, 1, id, '[1,0,0]' FROM documents WHERE status = 'COMPLETED';
        UPDATE documents SET collection = 'old' WHERE status = 'FAILED'
    """
    for statement in statements.split(";"):
        ask(url, statement)
    with pytest.raises(AssertionError, match="re-embed all collections with the same embedder first"):
        aerich(project, url, "downgrade", "--version", "6", "--yes")
    assert len(ask(url, "SELECT FROM chunk_vectors")) == 3

    ask(url, "UPDATE documents SET collection = 'default'")
    for _ in range(2):
        aerich(project, url, "downgrade", "--version", "6", "--yes")
        rows = ask(
            url, "SELECT s.*, v.* FROM chunk_vectors AS v JOIN vector_spaces AS s ON s.id = v.space_id"
        )
        assert [(row["space_id"], row["model"], row["dimensions"]) for row in rows] == [(1, "three", 3)] * 2
        (index,) = ask(url, "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'chunk_vectors_space%'")
        assert "halfvec(3)" in index["indexdef"]
        aerich(project, url, "upgrade")
        (part,) = ask(url, "SELECT above, up_to, index_name FROM vector_parts")
        assert tuple(part) == (0, ENDLESS, "chunk_vectors_space_1")
        (space,) = ask(url, "SELECT id, embedder, model FROM vector_spaces")
        assert tuple(space) == (1, "openai", "three")
        assert [row["space_id"] for row in ask(url, "SELECT space_id FROM collections ORDER BY name")] == [
            1,
            None,
        ]
        rows = ask(url, "SELECT DISTINCT status, space_id FROM documents WHERE space_id IS NOT NULL")
        assert sorted(map(tuple, rows)) == [("COMPLETED", 1), ("FAILED", 1)]


def test_what_searches_read_can_be_taken_back_and_is_made_of_the_chunks_again(
    project: Path, url: str
) -> None:
    aerich(project, url, "upgrade")
    fill(url)
    aerich(project, url, "downgrade", "--version", "4", "--yes")
    assert columns(url, "chunk_words") == set()
    ask(url, "INSERT INTO vector_spaces (id, model, dimensions) VALUES (1, 'three', 3)")
    for ordinal, (text, start) in enumerate(zip(CHUNKS, (0, 21, 57), strict=True)):
        ask(
            url,
            f"""INSERT INTO chunks
                (document_id, version, ordinal, text, char_start, char_end, headings, token_count, embedding)
            SELECT id, 1, {ordinal}, '{text}', {start}, {start + len(text)}, '{{}}', 7, '[0,0.5,0.5]'
            FROM documents WHERE status = 'COMPLETED'""",
        )
    ask(url, "UPDATE documents SET chunk_count = 3 WHERE status = 'COMPLETED'")

    for _ in range(2):
        aerich(project, url, "upgrade")
        rows = ask(
            url,
            """SELECT gap, words::text, weights::text, v.embedding::text AS vector
            FROM chunks AS c JOIN chunk_words AS w ON w.chunk_id = c.id
                JOIN chunk_vectors AS v ON v.chunk_id = c.id
            ORDER BY ordinal""",
        )
        assert [row["gap"] for row in rows] == ["", "", "   "]
        (default,) = ask(url, "SELECT '''=' || id || '''' AS mark FROM collections WHERE name = 'default'")
        assert all(default["mark"] in row["words"] and row["vector"] == "[0,0.5,0.5]" for row in rows)
        assert "'gate':3" in rows[0]["words"]
        assert rows[0]["weights"].count(":") == 4  # Upper, gate, open, six.
        assert [row["chunks"] for row in ask(url, "SELECT chunks FROM chunk_changes")] == [3]
        assert ask(url, "SELECT indexname FROM pg_indexes WHERE indexname = 'chunk_vectors_space_1'")
        aerich(project, url, "downgrade", "--version", "4", "--yes")
        assert ask(url, "SELECT indexname FROM pg_indexes WHERE indexname = 'chunks_embedding'")


def test_words_of_an_earlier_version_are_marked_and_those_of_this_one_can_be_taken_back(
    project: Path, url: str
) -> None:
    aerich(project, url, "upgrade")
    fill(url)
    ask(
        url,
        """INSERT INTO chunks
            (id, document_id, version, ordinal, text, char_start, char_end, headings, token_count)
        SELECT 1, id, 1, 0, 'The upper gates', 0, 15, '{Locks}', 3
        FROM documents WHERE status = 'COMPLETED'""",
    )
    ask(
        url,
        """INSERT INTO chunk_words (chunk_id, document_id, rules, length, words, weights)
        SELECT 1, id, 2, 1, $$'other':1$$, '{1:1}/536870912' FROM documents WHERE status = 'COMPLETED'""",
    )
    aerich(project, url, "downgrade", "--version", "18", "--yes")
    assert "rules" not in columns(url, "chunk_words")
    (row,) = ask(url, "SELECT length, words::text, weights::text FROM chunk_words")
    assert row["length"] == 3
    assert row["words"].startswith("'=")
    assert row["words"].endswith(" 'gate':3 'lock':4 'upper':2")
    assert row["weights"].count(":") == 3

    aerich(project, url, "upgrade")
    assert [each["rules"] for each in ask(url, "SELECT rules FROM chunk_words")] == [1]


def test_where_chunks_end_can_be_taken_back_and_what_is_stored_stays_as_it_is(
    project: Path, url: str
) -> None:
    aerich(project, url, "upgrade")
    fill(url)
    aerich(project, url, "downgrade", "--version", "13", "--yes")
    assert "page_end" not in columns(url, "chunks")
    ask(
        url,
        """INSERT INTO chunks
            (document_id, version, ordinal, text, char_start, char_end, page, headings, token_count)
        SELECT id, 1, 0, 'Gates', 0, 5, 2, '{}', 1 FROM documents WHERE status = 'COMPLETED'""",
    )

    aerich(project, url, "upgrade")

    # Not what could only be guessed; whoever reads it takes the page where it begins.
    assert [tuple(row) for row in ask(url, "SELECT page, page_end FROM chunks")] == [(2, None)]


def test_attempts_can_be_taken_back_and_applied_again_with_rows(project: Path, url: str) -> None:
    aerich(project, url, "upgrade")
    fill(url)

    aerich(project, url, "downgrade", "--version", "3", "--yes")
    assert columns(url, "attempts") == set()
    aerich(project, url, "upgrade")

    # What is in a worker's hand has an attempt, as if it had been claimed by this version.
    rows = ask(url, "SELECT worker, status FROM attempts JOIN documents AS d ON d.id = document_id")
    assert [tuple(row) for row in rows] == [("w", "PROCESSING")]


def test_citations_can_be_taken_back_and_are_made_of_the_rows_again(project: Path, url: str) -> None:
    aerich(project, url, "upgrade")
    fill(url)

    aerich(project, url, "downgrade", "--version", "2", "--yes")
    assert "cited" not in columns(url)
    aerich(project, url, "upgrade")

    rows = ask(url, "SELECT status, cited->>'title' AS title FROM documents ORDER BY status")
    assert [(row["status"], row["title"]) for row in rows] == [
        ("COMPLETED", "Gates"),
        ("FAILED", None),
        ("PENDING", None),
        ("PROCESSING", None),
    ]


def test_the_status_can_be_taken_back_too_and_then_all_is_ingested_again(project: Path, url: str) -> None:
    aerich(project, url, "upgrade")
    fill(url)

    aerich(project, url, "downgrade", "--version", "1", "--yes")
    assert not {"status", "processing_errors", "cited"} & columns(url)
    aerich(project, url, "upgrade")

    rows = ask(url, "SELECT status, count(*) FROM documents GROUP BY status")
    assert [(row["status"], row["count"]) for row in rows] == [("PENDING", 4)]


def test_many_processes_may_migrate_at_once(settings: Settings, url: str) -> None:
    own = settings.model_copy(update={"DATABASE_URL": url})
    program = (
        "import asyncio; from app.core.config import get_settings; from app.core.database import migrate;"
        "print(len(asyncio.run(migrate(get_settings()))))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": own.DATABASE_URL},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    applied = sorted(process.communicate(timeout=60)[0].strip() for process in started)

    assert applied == ["0", "0", "0", str(len(list(MIGRATIONS.glob("models/[0-9]*.py"))))]
    assert asyncio.run(migrate(own)) == []


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'DONE', stage = NULL", "documents_status_is_known"),
        ("status = 'PROCESSING'", "documents_lease_while_processing"),
        ("status = 'COMPLETED', stage = NULL", "documents_completed_at_when_completed"),
        ("status = 'FAILED', stage = NULL", "documents_error_when_failed"),
        ("stage = NULL", "documents_stage_until_final"),
        ("lease_owner = 'x'", "documents_lease_is_whole"),
        ("indexed_version = 1", "documents_cited_when_indexed"),
    ],
)
def test_the_database_refuses_rows_that_make_no_sense(
    settings: Settings, url: str, change: str, constraint: str
) -> None:
    own = settings.model_copy(update={"DATABASE_URL": url})
    asyncio.run(migrate(own))
    ask(
        url,
        "INSERT INTO documents (id, media_type, sha256, size_bytes) VALUES (gen_random_uuid(), 't', 's', 1)",
    )

    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        ask(url, f"UPDATE documents SET {change}")
