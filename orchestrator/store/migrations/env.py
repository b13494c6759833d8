"""What Alembic runs the steps with: the connection that `orchestrator.store.schema` hands over."""

from __future__ import annotations

from alembic import context

__all__: list[str] = []

# The name under which Alembic loads this file; imported as a module it does nothing.
if __name__ == "env_py":
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
