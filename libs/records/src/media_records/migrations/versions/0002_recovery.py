"""
When to look at an unfinished asset again, and when to sweep what dead attempts left.

The watcher alone deletes assets: grants that lapsed unused, after some days.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UPGRADE = (
    "DROP INDEX media_assets_to_remove",
    "ALTER TABLE media_assets ADD COLUMN sweep_at timestamptz",
    # The owner of the tables is under their policies, too, and none lets it see rows.
    "ALTER TABLE media_assets NO FORCE ROW LEVEL SECURITY",
    "UPDATE media_assets SET sweep_at = updated_at WHERE status = 'deleted' AND removals < 2",
    "ALTER TABLE media_assets FORCE ROW LEVEL SECURITY",
    "ALTER TABLE media_assets DROP COLUMN removals",
    "ALTER TABLE media_assets ADD COLUMN check_at timestamptz NOT NULL DEFAULT now()",
    "CREATE INDEX media_assets_to_sweep ON media_assets (sweep_at) WHERE sweep_at IS NOT NULL",
    (
        "CREATE INDEX media_assets_to_check ON media_assets (check_at)"
        " WHERE status IN ('pending', 'processing')"
    ),
    "CREATE INDEX media_assets_lapsed ON media_assets (updated_at) WHERE status = 'expired'",
    "ALTER TABLE asset_results ADD COLUMN job_fence bigint",
    "ALTER TABLE companies ADD COLUMN verified_at timestamptz NOT NULL DEFAULT now()",
    "CREATE INDEX companies_to_verify ON companies (verified_at)",
    "GRANT UPDATE (verified_at) ON companies TO media_watcher",
    "GRANT DELETE ON media_assets TO media_watcher",
)
_DOWNGRADE = (
    "REVOKE DELETE ON media_assets FROM media_watcher",
    "REVOKE UPDATE (verified_at) ON companies FROM media_watcher",
    "ALTER TABLE companies DROP COLUMN verified_at",
    "ALTER TABLE asset_results DROP COLUMN job_fence",
    "ALTER TABLE media_assets DROP COLUMN check_at",
    "DROP INDEX media_assets_lapsed",
    "ALTER TABLE media_assets ADD COLUMN removals integer NOT NULL DEFAULT 0",
    "ALTER TABLE media_assets NO FORCE ROW LEVEL SECURITY",
    "UPDATE media_assets SET removals = 2 WHERE sweep_at IS NULL",
    "ALTER TABLE media_assets FORCE ROW LEVEL SECURITY",
    "ALTER TABLE media_assets DROP COLUMN sweep_at",
    (
        "CREATE INDEX media_assets_to_remove ON media_assets (removals, updated_at)"
        " WHERE status = 'deleted' AND removals < 2"
    ),
)


def upgrade() -> None:
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWNGRADE:
        op.execute(statement)
