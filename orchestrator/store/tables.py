"""The tables of a log."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

__all__ = [
    "METADATA",
    "decisions",
    "eligible_sets",
    "experiments",
    "outcomes",
    "qualities",
    "registries",
    "shapes",
    "statistics",
]

METADATA: Final = sa.MetaData()

# What many decisions share is kept once, under a hash of what it says.

registries: Final = sa.Table(
    "registries",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("models", sa.Text, nullable=False),  # the keys in order, as a JSON list
)

eligible_sets: Final = sa.Table(
    "eligible_sets",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("registry", sa.String(32), nullable=False),
    sa.Column("bits", sa.LargeBinary, nullable=False),  # one per model, the first the lowest
)

shapes: Final = sa.Table(
    "shapes",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("demands", sa.Text, nullable=False),  # as a JSON object
)

decisions: Final = sa.Table(
    "decisions",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("wall", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("selector", sa.Text, nullable=False),
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("explored", sa.Boolean, nullable=False),
    sa.Column("segment", sa.Text, nullable=False),
    sa.Column("shape", sa.String(32), nullable=False),
    sa.Column("eligible_set", sa.String(32), nullable=False),
    sa.Column("refused", sa.Text, nullable=False),  # code -> models, as a JSON object
    sa.Column("expected_cost_usd", sa.Double),
    sa.Column("score_arms", sa.LargeBinary, nullable=False),  # positions, little-endian uint32
    sa.Column("scores", sa.LargeBinary, nullable=False),  # of these, little-endian float64
    sa.Column("features", sa.LargeBinary),  # little-endian float32
)

outcomes: Final = sa.Table(
    "outcomes",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("wall", sa.Double, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("counts", sa.Boolean, nullable=False),  # false: it says nothing of the model
    sa.Column("cost_usd", sa.Double, nullable=False),
    sa.Column("tokens_in", sa.Integer, nullable=False),
    sa.Column("tokens_out", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("first_token_s", sa.Double),
    sa.Column("error", sa.Text),
)

qualities: Final = sa.Table(
    "qualities",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # of the node's
    sa.Column("wall", sa.Double, nullable=False),
    sa.Column("quality", sa.Double, nullable=False),
    sa.Column("corrected", sa.Boolean, nullable=False),  # it took the place of another
)

statistics: Final = sa.Table(
    "statistics",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("start", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("sums", sa.Text, nullable=False),  # column -> sum, as a JSON object
    sa.Column("packed", sa.LargeBinary),  # or sums of another kind, little-endian float64
)

experiments: Final = sa.Table(
    "experiments",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("plan", sa.String(32), primary_key=True),  # tells plans of the same name apart
    sa.Column("sums", sa.Text, nullable=False),  # a row per variant, as JSON
    sa.Column("counted", sa.LargeBinary, nullable=False),  # a bit per unit, packed by zlib
)
