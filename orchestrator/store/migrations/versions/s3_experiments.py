"""What has been seen of experiments, so that they outlive the process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Make the table of experiments."""
    op.create_table(
        "experiments",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("plan", sa.String(32), primary_key=True),
        sa.Column("sums", sa.Text, nullable=False),
        sa.Column("counted", sa.LargeBinary, nullable=False),
    )
