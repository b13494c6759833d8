"""Which schema a log has, and bringing an older one up to date."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator.store.errors import StoreError, StoreSchemaError

__all__ = ["CURRENT", "check", "upgrade"]

CURRENT: Final = "4"
"""The last of the migrations; they are numbered."""


def check(connection: sa.Connection, name: str) -> None:
    """Make sure that a log has the schema we read.

    Args:
        connection: To the log.
        name: What to call it in errors.

    Raises:
        StoreError: It is no log.
        StoreSchemaError: Its schema is older or newer.
    """
    found = _revision(connection)
    if found is None:
        raise StoreError(f"{name} is no decision log")
    _refuse_newer(found, name)
    if found != CURRENT:
        raise StoreSchemaError(
            f"{name} has the older schema {found}; this version reads {CURRENT}",
            found=found,
            wanted=CURRENT,
            hint=f"orchestrator log upgrade --log {name}",
        )


def upgrade(connection: sa.Connection, name: str) -> bool:
    """Bring a log up to date, or make one where there is nothing; False if there was no need.

    Raises:
        StoreError: It is a database of something else.
        StoreSchemaError: Its schema is newer than ours.
    """
    found = _revision(connection)
    if found == CURRENT:
        return False
    if found is not None:
        _refuse_newer(found, name)
    elif sa.inspect(connection).get_table_names():
        raise StoreError(f"{name} is a database of something else")
    # Only now: Alembic takes a fifth of a second to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, CURRENT)
    return True


def _revision(connection: sa.Connection) -> str | None:
    """Return what Alembic has noted of the schema, or None."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    noted = sa.table("alembic_version", sa.column("version_num", sa.String))
    return connection.execute(sa.select(noted.c.version_num)).scalar()


def _refuse_newer(found: str, name: str) -> None:
    if not (found.isdecimal() and int(found) <= int(CURRENT)):
        raise StoreSchemaError(
            f"{name} has the schema {found}, which is newer than ours ({CURRENT})",
            found=found,
            wanted=CURRENT,
            hint="a newer orchestrator has written it; use that one",
        )
