"""
What a grant stored: the bytes that were checked, and a sweep once it has lapsed.

Grants that lapsed before have their sweep as well, batch by batch.
"""

from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None

_UPGRADE = (
    (
        "ALTER TABLE media_assets ADD COLUMN upload_sha256 text,"
        " ADD COLUMN grant_swept boolean NOT NULL DEFAULT false"
    ),
    (
        "CREATE INDEX media_assets_grants_to_sweep ON media_assets (grant_expires_at)"
        " WHERE NOT grant_swept AND upload_version_id IS NOT NULL"
    ),
)


def upgrade() -> None:
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("0009 knows what was checked; restore a backup to go back")
