"""
What the watcher needs: counts of every status, the begin of each attempt, whose deletions wait,
originals that are no longer kept, and who has heard of an incident's end.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SLOTS = 16
_NEW = ("expired", "cancelled", "deleted")
_COUNTED = ("pending", "processing", "ready", "failed", *_NEW)

_TABLES = (
    *(
        f"ALTER TABLE company_usage ADD COLUMN {status} bigint NOT NULL DEFAULT 0"
        for status in _NEW
    ),
    # Null is the first attempt, which begins with the upload.
    "ALTER TABLE media_assets ADD COLUMN attempt_at timestamptz",
    "ALTER TABLE media_assets ADD COLUMN retired boolean NOT NULL DEFAULT false",
    "ALTER TABLE media_assets ADD COLUMN original_gone boolean NOT NULL DEFAULT false",
    "ALTER TABLE incidents ADD COLUMN recovered_at timestamptz",
    (
        "CREATE INDEX media_assets_deleted ON media_assets (sweep_at)"
        " WHERE sweep_at IS NOT NULL AND status IN ('deleted', 'cancelled') AND NOT retired"
    ),
    "CREATE INDEX event_tickets_age ON event_tickets (expires_at)",
)

# An upload that was granted takes its declared size at once; a lapsed or deleted one nothing.
_BYTES = """
    CASE WHEN {row}.status IN ('pending', 'processing', 'ready', 'failed')
         THEN {row}.stored_bytes + CASE WHEN {row}.original_gone THEN 0 ELSE {row}.size END
         ELSE 0 END
"""


def _change(status: str) -> str:
    return f"(new_status = '{status}')::int - (old_status = '{status}')::int"


_COUNT_USAGE = f"""
CREATE OR REPLACE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    company uuid;
    more_bytes bigint := 0;
    old_status text := '';
    new_status text := '';
BEGIN
    IF TG_OP <> 'DELETE' THEN
        company := NEW.company_id;
        new_status := NEW.status;
        more_bytes := {_BYTES.format(row="NEW")};
    END IF;
    IF TG_OP <> 'INSERT' THEN
        company := OLD.company_id;
        old_status := OLD.status;
        more_bytes := more_bytes - {_BYTES.format(row="OLD")};
    END IF;
    IF more_bytes <> 0 OR old_status <> new_status THEN
        INSERT INTO company_usage AS u (company_id, slot, bytes, {", ".join(_COUNTED)})
            VALUES (company, pg_backend_pid() % {_SLOTS}, more_bytes,
                    {", ".join(_change(status) for status in _COUNTED)})
            ON CONFLICT (company_id, slot) DO UPDATE
            SET bytes = u.bytes + excluded.bytes,
                {", ".join(f"{status} = u.{status} + excluded.{status}" for status in _COUNTED)};
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = (
    "DROP TRIGGER count_usage ON media_assets",
    """
    CREATE TRIGGER count_usage
        AFTER INSERT OR DELETE OR UPDATE OF status, size, stored_bytes, original_gone
        ON media_assets FOR EACH ROW EXECUTE FUNCTION count_usage()
    """,
)
# The owner of the tables is under their policies, too, and none lets it see rows.
_FORCED = ("media_assets", "company_usage")
_WHAT_IS_THERE = (
    *(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" for table in _FORCED),
    f"""
    INSERT INTO company_usage AS u (company_id, slot, bytes, pending, {", ".join(_NEW)})
        SELECT company_id, 0, 0, 0,
            {", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in _NEW)}
        FROM media_assets WHERE status IN ('expired', 'cancelled', 'deleted') GROUP BY company_id
        ON CONFLICT (company_id, slot) DO UPDATE
        SET {", ".join(f"{status} = excluded.{status}" for status in _NEW)}
    """,
    ("UPDATE media_assets SET attempt_at = updated_at WHERE status = 'processing' AND attempt > 1"),
    # The watcher finds out which of these originals its time in quarantine is over for.
    (
        "UPDATE media_assets SET sweep_at = now()"
        " WHERE status = 'failed' AND upload_key LIKE '%/quarantine/%'"
    ),
    *(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY" for table in _FORCED),
)


def upgrade() -> None:
    # What is there is counted before the trigger changes: it would see the old rows' updates.
    for statement in (*_TABLES, *_WHAT_IS_THERE, _COUNT_USAGE, *_TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("0005 counts what companies have; restore a backup to go back")
