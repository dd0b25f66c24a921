"""The models that have made the vectors of a database."""

from __future__ import annotations

from typing import Self

from tortoise import Model, fields

from app.models.sql import fetch, transaction

# Any number will do, so long as nobody else in the database uses it.
ADOPTION_LOCK = 0x51_1C_E2


class VectorSpace(Model):
    """A row in `vector_spaces`: a model, whose vectors can be compared with each other and with no others."""

    id = fields.SmallIntField(primary_key=True, generated=False)
    embedder = fields.CharField(max_length=16)  # As in EMBEDDER: what can open the model again.
    model = fields.CharField(max_length=255)
    dimensions = fields.IntField()

    class Meta:
        table = "vector_spaces"

    @classmethod
    async def adopt(cls, embedder: str, model: str, dimensions: int) -> Self:
        """The space of this model; made if it is new."""
        if known := await cls.get_or_none(embedder=embedder, model=model, dimensions=dimensions):
            return known
        async with transaction() as db:
            # Several processes start at once: the first makes the row, the others wait.
            await fetch("SELECT pg_advisory_xact_lock($1)", ADOPTION_LOCK, db=db)
            await fetch(
                """
                INSERT INTO vector_spaces (id, embedder, model, dimensions)
                SELECT COALESCE(max(id), 0) + 1, $1, $2, $3 FROM vector_spaces
                ON CONFLICT (embedder, model, dimensions) DO NOTHING
                """,
                embedder,
                model,
                dimensions,
                db=db,
            )
        return await cls.get(embedder=embedder, model=model, dimensions=dimensions)

    @classmethod
    async def by_id(cls) -> dict[int, Self]:
        """All there are."""
        return {space.id: space for space in await cls.all()}

    def __str__(self) -> str:
        return f"{self.model} ({self.dimensions} dimensions)"
