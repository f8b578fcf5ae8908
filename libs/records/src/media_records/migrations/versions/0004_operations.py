"""
What operations need: counts by company, incidents, retention, and outcomes by their time.

The trigger of 0003 counts the statuses, too, in the rows that it changes anyway, so that counting
all assets of all companies takes the same time however many there are.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SLOTS = 16
_COUNTED = ("pending", "processing", "ready", "failed")

_TABLES = (
    "ALTER TABLE company_usage RENAME COLUMN open_grants TO pending",
    *(
        f"ALTER TABLE company_usage ADD COLUMN {status} bigint NOT NULL DEFAULT 0"
        for status in _COUNTED[1:]
    ),
    # Null is what the watcher's settings say.
    "ALTER TABLE companies ADD COLUMN retention_days integer CHECK (retention_days > 0)",
    "ALTER TABLE companies ADD COLUMN retention_keeps_thumbnails boolean",
    "ALTER TABLE media_assets ADD COLUMN thumbnail_kept boolean NOT NULL DEFAULT false",
    # An upload that ingest has not heard of, seen by the watcher.
    "ALTER TABLE media_assets ADD COLUMN found_at timestamptz",
    # Each signature and each change of status paid for it; the watcher has better ones now.
    "DROP INDEX media_assets_unfinished",
    (
        "CREATE INDEX media_assets_by_age ON media_assets (company_id, created_at)"
        " WHERE status IN ('ready', 'failed', 'cancelled')"
    ),
    (
        "CREATE INDEX media_assets_outcomes ON media_assets (processed_at)"
        " WHERE processed_at IS NOT NULL"
    ),
    """
    CREATE TABLE incidents (
        company_id uuid NOT NULL,
        kind text NOT NULL,
        severity text NOT NULL,
        summary text NOT NULL,
        opened_at timestamptz NOT NULL DEFAULT now(),
        told_severity text,
        escalated_at timestamptz,
        PRIMARY KEY (company_id, kind)
    )
    """,
)

# An upload that was granted takes its declared size at once; a lapsed or deleted one nothing.
_BYTES = """
    CASE WHEN {row}.status IN ('pending', 'processing', 'ready', 'failed')
         THEN {row}.size + {row}.stored_bytes ELSE 0 END
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
# The owner of the tables is under their policies, too, and none lets it see rows.
_FORCED = ("media_assets", "company_usage")
_COUNT_WHAT_IS_THERE = (
    *(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" for table in _FORCED),
    f"""
    INSERT INTO company_usage AS u (company_id, slot, bytes, {", ".join(_COUNTED)})
        SELECT company_id, 0, 0, 0,
            {", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in _COUNTED[1:])}
        FROM media_assets GROUP BY company_id
        ON CONFLICT (company_id, slot) DO UPDATE
        SET {", ".join(f"{status} = excluded.{status}" for status in _COUNTED[1:])}
    """,
    *(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY" for table in _FORCED),
)

_WALLS = (
    "ALTER TABLE incidents ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE incidents FORCE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON incidents TO media_watcher",
    "CREATE POLICY watcher ON incidents TO media_watcher USING (true) WITH CHECK (true)",
    (
        "GRANT UPDATE (retention_days, retention_keeps_thumbnails, quota_bytes) ON companies"
        " TO media_watcher"
    ),
)

_SIGN_ASSET = """
CREATE OR REPLACE FUNCTION sign_asset(
    p_company uuid, p_asset uuid, p_file_name text, p_content_type text, p_size bigint,
    p_bucket text, p_upload_key text, p_expires timestamptz, p_traceparent text,
    p_key text, p_hash text, p_response text, p_max_grants bigint DEFAULT NULL,
    OUT request_hash text, OUT response text, OUT refused text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    quota bigint;
    used bigint;
    grants bigint;
BEGIN
    PERFORM set_config('app.company_id', p_company::text, true);
    IF p_key IS NOT NULL THEN
        DELETE FROM idempotency_keys k WHERE k.company_id = p_company AND k.key = p_key
            AND k.created_at < now() - interval '24 hours';
        PERFORM pg_advisory_xact_lock(hashtextextended(p_company::text || p_key, 0));
        SELECT k.request_hash, k.response INTO request_hash, response FROM idempotency_keys k
            WHERE k.company_id = p_company AND k.key = p_key;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT sum(u.bytes), sum(u.pending) INTO used, grants FROM company_usage u
        WHERE u.company_id = p_company;
    SELECT c.quota_bytes INTO quota FROM companies c WHERE c.company_id = p_company;
    IF used + p_size > quota OR p_size > quota THEN refused := 'quota_exceeded'; RETURN; END IF;
    IF grants >= p_max_grants THEN refused := 'too_many_open_grants'; RETURN; END IF;
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket, upload_key,
                              grant_expires_at, traceparent)
        VALUES (p_asset, p_company, p_file_name, p_content_type, p_size, p_bucket, p_upload_key,
                p_expires, p_traceparent);
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response)
            VALUES (p_company, p_key, p_hash, p_asset, p_response);
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in (*_TABLES, *_COUNT_WHAT_IS_THERE, _COUNT_USAGE, *_WALLS, _SIGN_ASSET):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("0004 counts what companies have; restore a backup to go back")
