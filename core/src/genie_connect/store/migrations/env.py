"""What alembic runs: the steps, on the connection that it was handed, in the transaction that is open there."""

from alembic import context

from genie_connect.store.migrate import VERSION_TABLE
from genie_connect.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a column only by making the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
