"""Rows of statistics that hold long arrays, such as the regressions of linear selectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Make room for their sums."""
    op.add_column("statistics", sa.Column("packed", sa.LargeBinary))
