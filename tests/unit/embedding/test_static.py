"""What is the static model's own; all else is in the contract of all embedders."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from app.embedding.static import StaticModel
from app.errors import ModelMissing


def test_a_text_points_where_the_mean_of_its_tokens_does() -> None:
    model = StaticModel.load()

    lock, gate, both = model.embed(["lock", "gate", "lock gate"])

    ((lock_id,), (gate_id,)) = (model._tokens.ids(word) for word in ("lock", "gate"))
    lengths = np.linalg.norm(model._table[[lock_id, gate_id]], axis=1)
    mean = lock * lengths[0] + gate * lengths[1]
    assert both == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = importlib.util.spec_from_file_location("wordllama", tmp_path / "__init__.py")
    for spec in (None, empty):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, spec=spec: spec)
        with pytest.raises(ModelMissing, match=r"--no-deps -r requirements-static\.txt"):
            StaticModel.load()
