"""Tables of what came later to keys and models: credentials of regenerated keys, and models that are stored.

A key keeps its row, and the digest in it, for as long as it lives: everything that is counted and booked goes by it. A
key that was regenerated has rows in `key_credentials`: for its first credential, whose digest is the key's, and for
those since. Only those without a `revoke_at`, or with one to come, are accepted.

`models.credential` is an envelope of `extproc.encryption`; there is no provider's key in `parameters`.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Table, Text

from extproc.stores.tables import metadata

key_credentials = Table(
    "key_credentials",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("key_digest", Text, nullable=False),
    Column("revoke_at", BigInteger),
    Index("ix_key_credentials_key_digest", "key_digest"),
)

models = Table(
    "models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model_name", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("credential", Text),
    Column("info", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text),
    Index("ix_models_model_name", "model_name"),
)
