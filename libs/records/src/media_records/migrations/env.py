"""Runs the migrations on the connection that media_records.migrate opened."""

from alembic import context
from media_records import tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.Asset.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
