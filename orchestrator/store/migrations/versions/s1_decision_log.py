"""Decisions, what came of them, and what they share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make the tables of the log."""
    op.create_table(
        "registries",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("models", sa.Text, nullable=False),
    )
    op.create_table(
        "eligible_sets",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("registry", sa.String(32), nullable=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "shapes",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("demands", sa.Text, nullable=False),
    )
    op.create_table(
        "decisions",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("wall", sa.Double, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("selector", sa.Text, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("explored", sa.Boolean, nullable=False),
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("shape", sa.String(32), nullable=False),
        sa.Column("eligible_set", sa.String(32), nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
        sa.Column("expected_cost_usd", sa.Double),
        sa.Column("score_arms", sa.LargeBinary, nullable=False),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("features", sa.LargeBinary),
    )
    op.create_table(
        "outcomes",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("wall", sa.Double, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=False),
        sa.Column("counts", sa.Boolean, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=False),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("first_token_s", sa.Double),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "qualities",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("wall", sa.Double, nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("corrected", sa.Boolean, nullable=False),
    )
