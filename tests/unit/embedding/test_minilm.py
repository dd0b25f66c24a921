"""The real model, against the vectors of its authors' own recipe, and the cache it is converted into."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import multiprocessing
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.embedding import minilm, minilm_files
from app.embedding.minilm import MiniLMEmbedder
from app.embedding.minilm_files import SUMS, converted_model, package_files
from app.embedding.protocol import Embedder, TextKind
from app.embedding.word_tokens import WordTokens
from app.errors import ModelMissing, StartupError
from tests.support import as_pairs

REFERENCE = json.loads((Path(__file__).parent / "reference_vectors.json").read_text(encoding="utf-8"))
NAMES = [row["name"] for row in REFERENCE["texts"]]
TEXTS: list[str] = [row["text"] for row in REFERENCE["texts"]]
VECTORS = np.array([row["vector"] for row in REFERENCE["texts"]])

#: How far the cosine of a text with itself may be from 1. Eight bits a number: a sum taken in another order,
#: as beside other texts, may round the other way, on some processors more than on others.
EIGHT_BITS = 1e-4


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted into by the first test that needs it."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
async def embedder(cache_dir: Path) -> AsyncIterator[MiniLMEmbedder]:
    embedder = await MiniLMEmbedder.open(cache_dir=cache_dir)
    yield embedder
    await embedder.close()


# --- The vectors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("compute_type", "least_cosine"), [("int8", 0.99), ("float32", 0.9999)])
async def test_vectors_agree_with_those_of_the_published_recipe(
    cache_dir: Path, compute_type: str, least_cosine: float
) -> None:
    embedder = await MiniLMEmbedder.open(cache_dir=cache_dir, compute_type=compute_type)
    cosines = np.sum(await embedder.embed(TEXTS) * VECTORS, axis=1)
    await embedder.close()

    assert dict(zip(NAMES, cosines, strict=True)) == pytest.approx(
        dict.fromkeys(NAMES, 1), abs=1 - least_cosine
    )


async def test_rows_are_unit_vectors_of_float32_in_the_order_of_the_texts(embedder: MiniLMEmbedder) -> None:
    vectors = await embedder.embed(TEXTS)

    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
    assert np.argmax(vectors @ VECTORS.T, axis=1).tolist() == list(range(len(TEXTS)))


async def test_a_text_has_the_same_vector_alone_and_beside_longer_ones(embedder: MiniLMEmbedder) -> None:
    together = await embedder.embed(TEXTS)
    alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])

    # Padding that leaked in would show in the second digit.
    assert (together * alone).sum(axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=EIGHT_BITS)


async def test_an_empty_text_and_one_without_tokens_have_vectors(embedder: MiniLMEmbedder) -> None:
    vectors = await embedder.embed(["", " \n", "\x00\x01", "lock"])

    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


async def test_no_texts_are_no_rows(embedder: MiniLMEmbedder) -> None:
    vectors = await embedder.embed([])

    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


async def test_what_comes_after_the_last_token_of_a_long_text_does_not_count(
    embedder: MiniLMEmbedder,
) -> None:
    text = "The water rises slowly. " * 200
    offsets = embedder.token_offsets(text)
    end = offsets[embedder.max_tokens - 1][1]
    whole, cut, shorter = await embedder.embed([text, text[:end], text[: offsets[200][1]]])

    assert len(offsets) > embedder.max_tokens
    assert whole == pytest.approx(cut, abs=1e-6)
    assert not np.allclose(whole, shorter, atol=1e-6)


async def test_it_is_what_an_embedder_has_to_be(embedder: MiniLMEmbedder) -> None:
    any_embedder: Embedder = embedder

    assert any_embedder.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert (any_embedder.dimensions, any_embedder.max_tokens) == (384, 254)


# --- Calls at once -----------------------------------------------------------------------------------------


async def test_concurrent_calls_get_their_own_rows(embedder: MiniLMEmbedder) -> None:
    expected = await embedder.embed(TEXTS)
    kinds = (TextKind.DOCUMENT, TextKind.QUERY)
    calls = [embedder.embed([text, TEXTS[0]], kind) for text in TEXTS for kind in kinds]
    results = await asyncio.gather(*calls)

    for number, vectors in enumerate(results):
        cosines = (vectors * expected[[number // 2, 0]]).sum(axis=1)
        assert cosines == pytest.approx(np.ones(2), abs=EIGHT_BITS)


async def test_a_cancelled_caller_harms_nobody(embedder: MiniLMEmbedder) -> None:
    expected = await embedder.embed(TEXTS)
    cancelled = asyncio.create_task(embedder.embed(TEXTS * 3))
    others = [asyncio.create_task(embedder.embed(TEXTS)) for _ in range(3)]
    await asyncio.sleep(0)  # Lets them begin; not a wait.
    cancelled.cancel()

    for vectors in await asyncio.gather(*others):
        assert (vectors * expected).sum(axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=EIGHT_BITS)
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_questions_are_handed_over_as_urgent(
    embedder: MiniLMEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    urgencies = []
    submit = embedder._batcher.submit

    def watched(texts: list[list[int]], *, is_urgent: bool) -> object:
        urgencies.append(is_urgent)
        return submit(texts, is_urgent=is_urgent)

    monkeypatch.setattr(embedder._batcher, "submit", watched)
    await embedder.embed(["a"], TextKind.QUERY)
    await embedder.embed(["a"], TextKind.DOCUMENT)

    assert urgencies == [True, False]


async def test_a_closed_embedder_refuses_to_embed_and_may_be_closed_again(cache_dir: Path) -> None:
    embedder = await MiniLMEmbedder.open(cache_dir=cache_dir)
    await embedder.close()
    await embedder.close()

    for texts in (["lock"], []):
        with pytest.raises(RuntimeError, match="closed"):
            await embedder.embed(texts)


# --- Tokens ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token_offsets() -> Callable[[str], list[tuple[int, int]]]:
    """The method alone: tokens need the tokenizer only, and Hypothesis shall not load the model each time."""
    tokenizer = Tokenizer.from_file(str(package_files() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    embedder = MiniLMEmbedder.__new__(MiniLMEmbedder)
    embedder._tokens = WordTokens.of_bert(tokenizer)
    return as_pairs(embedder)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The lock-keeper, 1,234!", ["The", "lock", "-", "keeper", ",", "1", ",", "234", "!"]),
        ("na\u0308chste e\u0301te\u0301", ["na", "chs", "te", "e\u0301t", "e"]),
        ("水闸 gate", ["水", "闸", "gate"]),
        ("🚢🎉 gate", ["🚢🎉", "gate"]),
        ("\x00a\x07 \ufeffgate\x00", ["a", "gate"]),
        ("Straße ﬁne", ["St", "raße", "ﬁ", "ne"]),
        ("", []),
        (" \n\t\x00", []),
    ],
)
def test_offsets_are_of_characters_of_the_text_as_it_was_given(
    token_offsets: Callable[[str], list[tuple[int, int]]], text: str, tokens: list[str]
) -> None:
    assert [text[start:end] for start, end in token_offsets(text)] == tokens


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_offsets_ascend_within_any_text(
    token_offsets: Callable[[str], list[tuple[int, int]]], text: str
) -> None:
    offsets = token_offsets(text)

    assert all(0 <= start < end <= len(text) for start, end in offsets)
    assert all(earlier[0] <= later[0] and earlier[1] <= later[1] for earlier, later in pairwise(offsets))


def test_a_text_of_any_length_is_tokenised_whole(
    token_offsets: Callable[[str], list[tuple[int, int]]],
) -> None:
    text = "gate " * 10_000

    assert token_offsets(text) == [(start, start + 4) for start in range(0, len(text), 5)]


def test_while_a_long_word_is_tokenised_others_get_their_turn(
    token_offsets: Callable[[str], list[tuple[int, int]]],
) -> None:
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(10)  # Now nobody gets a turn who is not given it.
    try:
        may_begin, is_done = threading.Event(), False
        turns: list[bool] = []

        def take_turn() -> None:
            may_begin.wait(10)
            turns.append(is_done)

        other = threading.Thread(target=take_turn)
        other.start()
        may_begin.set()
        token_offsets("The-gate-opens-at-six." * 20_000)
        is_done = True
        other.join()
    finally:
        sys.setswitchinterval(usual_s)

    assert turns == [False]


# --- The cache ---------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def copied(cache_dir: Path, target: Path) -> Path:
    """A cache of the test's own, and the model in it, which costs no conversion."""
    model = converted_model(package_files(), cache_dir=cache_dir, compute_type="int8")
    return Path(shutil.copytree(model, target / model.name))


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, Path.unlink])
@pytest.mark.parametrize("name", ["model.bin", "config.json", "vocabulary.json", SUMS])
async def test_a_damaged_cache_is_made_anew(
    cache_dir: Path, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    model = copied(cache_dir, tmp_path)
    whole = (model / "model.bin").read_bytes()
    damage(model / name)

    embedder = await MiniLMEmbedder.open(cache_dir=tmp_path)
    vectors = await embedder.embed(TEXTS)
    await embedder.close()

    assert np.min(np.sum(vectors * VECTORS, axis=1)) > 0.99
    assert (model / "model.bin").read_bytes() == whole


def test_a_whole_cache_is_only_read(cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = copied(cache_dir, tmp_path)
    monkeypatch.setattr(minilm_files, "_locked", None)  # Called, it would raise.

    assert converted_model(package_files(), cache_dir=tmp_path, compute_type="int8") == model
    assert list(tmp_path.iterdir()) == [model]


def test_what_a_killed_process_left_is_replaced(cache_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / copied(cache_dir, tmp_path).name
    draft = model.rename(model.with_name(f"{model.name}.new"))
    truncate(draft / "model.bin")

    assert converted_model(package_files(), cache_dir=tmp_path, compute_type="int8") == model
    assert not draft.exists()


def test_two_processes_may_convert_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=convert, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".lock"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [model_name()]


def convert(cache_dir: Path) -> None:
    converted_model(package_files(), cache_dir=cache_dir, compute_type="int8")


def model_name() -> str:
    return f"minilm-0.1.0-int8-ct2-{ctranslate2.__version__}"


# --- What is told when it cannot start ---------------------------------------------------------------------


async def test_a_cache_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")

    with pytest.raises(StartupError, match=r"^MODEL_CACHE_DIR is .*, which cannot be written: .*\.$"):
        await MiniLMEmbedder.open(cache_dir=blocked / "models")


async def test_a_missing_package_is_told_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ModelMissing, match=r"requirements-model\.txt"):
        await MiniLMEmbedder.open(cache_dir=tmp_path)


async def test_a_package_without_weights_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec(minilm_files.MODULE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)

    with pytest.raises(ModelMissing):
        await MiniLMEmbedder.open(cache_dir=tmp_path)


async def test_a_model_that_cannot_be_loaded_is_told_in_a_sentence(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("no such processor")

    monkeypatch.setattr(ctranslate2, "Encoder", refuse)

    with pytest.raises(StartupError, match=r"^The embedding model cannot be loaded: no such processor\.$"):
        await MiniLMEmbedder.open(cache_dir=cache_dir)


class Encoder:
    """Stands for a GPU's, of which only the request is seen."""

    def __init__(self, _: str, **options: object) -> None:
        self.options = options

    def forward_batch(self, texts: list[list[int]]) -> None:
        """Works."""


class WithoutCuBLAS(Encoder):
    """As CTranslate2 behaves where there is a driver and no cuBLAS."""

    def forward_batch(self, texts: list[list[int]]) -> None:
        del texts
        if self.options["device"] == "cuda":
            raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")


async def test_a_gpu_is_asked_for_int8_with_half_precision_and_larger_batches(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "Encoder", Encoder)

    embedder = await MiniLMEmbedder.open(cache_dir=cache_dir)
    await embedder.close()

    assert embedder._encoder.options == {"device": "cuda", "compute_type": "int8_float16"}
    assert embedder._batcher._patient._batch_tokens == minilm.GPU_BATCH_TOKENS


async def test_a_gpu_that_cannot_be_used_leaves_the_work_to_the_processor(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "Encoder", WithoutCuBLAS)

    embedder = await MiniLMEmbedder.open(cache_dir=cache_dir, threads=3)
    await embedder.close()

    assert (embedder._encoder.options["device"], embedder._encoder.options["intra_threads"]) == ("cpu", 3)
    assert embedder._batcher._patient._batch_tokens == 3 * minilm.CPU_BATCH_TOKENS_PER_THREAD


def test_the_package_is_found_without_importing_it() -> None:
    package_files()

    assert minilm_files.MODULE not in sys.modules
