"""The whole schema, as schema.sql has it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMA = Path(__file__).parents[2] / "schema.sql"


def upgrade() -> None:
    driver = op.get_bind().connection.dbapi_connection
    if driver is None:
        raise RuntimeError("migrations need a connection: run media_records.migrate")
    # Prepared statements, which SQLAlchemy sends, are one at a time.
    driver.run_async(lambda connection: connection.execute(_SCHEMA.read_text()))


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first revision")
