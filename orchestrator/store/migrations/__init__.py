"""How a log's schema came to be what it is, one step a file; Alembic runs them."""
