"""Which embedder's vectors a database holds."""

from __future__ import annotations

from tortoise import Model, fields

from app.errors import ModelMismatch
from app.models.sql import transaction

#: The one that there is.
SPACE = 1


class VectorSpace(Model):
    """The one row that names the model whose vectors the chunks have."""

    id = fields.SmallIntField(primary_key=True)
    model = fields.CharField(max_length=255)
    dimensions = fields.IntField()

    class Meta:
        table = "vector_spaces"

    @classmethod
    async def adopt(cls, model: str, dimensions: int) -> None:
        """Make the database the home of this model's vectors, or check that it is.

        Raises:
            ModelMismatch: It holds another model's.
        """
        async with transaction() as db:
            # Several processes start at once: the first makes the row and the index, the others wait.
            inserted = await db.execute_query_dict(
                "INSERT INTO vector_spaces (id, model, dimensions) VALUES (1, $1, $2)"
                " ON CONFLICT (id) DO NOTHING RETURNING id",
                [model, dimensions],
            )
            if inserted:
                await db.execute_script(
                    f"CREATE INDEX chunk_vectors_space_{SPACE} ON chunk_vectors"
                    f" USING hnsw ((embedding::halfvec({dimensions:d})) halfvec_ip_ops)"
                    f" WHERE space_id = {SPACE}"
                )
                return
        held = await cls.get(id=1)
        if (held.model, held.dimensions) != (model, dimensions):
            raise ModelMismatch(
                stored=f"{held.model} ({held.dimensions} dimensions)",
                configured=f"{model} ({dimensions} dimensions)",
            )
