"""Rows of statistics, so that learning outlives the process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Make the table of statistics."""
    op.create_table(
        "statistics",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("start", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("segment", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("sums", sa.Text, nullable=False),
    )
