"""
Jobs say of what kind they are, and whether the thumbnailer still owes them an answer.

An image takes a fraction of a second: workers that take images alone let none wait for a film.
And a company that is owed many pictures asks for no more, so that the thumbnailer's topic holds
a few of each company's requests, not all of one's before anybody else's.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = "state IN ('queued', 'running')"
_UP = (
    (
        "ALTER TABLE ingest_jobs ADD COLUMN kind text NOT NULL DEFAULT 'video'"
        " CHECK (kind IN ('image', 'video')), ADD COLUMN asked_at timestamptz"
    ),
    f"""
    UPDATE ingest_jobs SET kind = 'image' FROM media_assets
    WHERE media_assets.id = ingest_jobs.asset_id AND media_assets.content_type LIKE 'image/%'
        AND ingest_jobs.{_OPEN}
    """,
    "DROP INDEX ingest_jobs_open",
    (
        "CREATE INDEX ingest_jobs_open ON ingest_jobs (company_id, kind, priority, id)"
        f" WHERE {_OPEN}"
    ),
    "DROP INDEX ingest_jobs_running",
    (
        "CREATE INDEX ingest_jobs_under_way ON ingest_jobs (company_id)"
        " WHERE state = 'running' OR asked_at IS NOT NULL"
    ),
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("0006 knows jobs by their kind; restore a backup to go back")
