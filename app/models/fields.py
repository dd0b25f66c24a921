"""Column types that Tortoise does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from tortoise.fields import Field


class HalfVectorField(Field[NDArray[np.float32]]):
    """pgvector's `halfvec`, half the size of `vector` at equal recall.

    The column has no dimension: that comes with the vector's space (`VectorSpace`), and its indexes are made
    for one space each (`vector_parts`).
    """

    SQL_TYPE = "halfvec"
    field_type = np.ndarray

    def to_db_value(self, value: Any, instance: Any) -> HalfVector | None:  # noqa: ARG002
        return None if value is None else HalfVector(value)

    def to_python_value(self, value: Any) -> NDArray[np.float32] | None:
        if value is None or isinstance(value, np.ndarray):
            return value
        return value.to_numpy().astype(np.float32)  # type: ignore[no-any-return]
