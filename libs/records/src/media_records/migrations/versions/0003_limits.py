"""
What a company uses, so that signing can refuse more than its quota; and
when its jobs were claimed, for turns.

``company_usage`` is kept by a trigger. Each connection adds to a slot of its own, so that the
signatures of one company do not wait for one another; a company's usage is the sum of its slots.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SLOTS = 16
_OWN_COMPANY = "company_id = NULLIF(current_setting('app.company_id', true), '')::uuid"

_TABLES = (
    "ALTER TABLE media_assets ADD COLUMN stored_bytes bigint NOT NULL DEFAULT 0",
    """
    CREATE TABLE company_usage (
        company_id uuid NOT NULL,
        slot smallint NOT NULL,
        bytes bigint NOT NULL,
        open_grants bigint NOT NULL,
        PRIMARY KEY (company_id, slot)
    ) WITH (fillfactor = 50)
    """,
    "ALTER TABLE ingest_jobs ADD COLUMN claimed_at timestamptz",
    "DROP INDEX ingest_jobs_open",
    (
        "CREATE INDEX ingest_jobs_open ON ingest_jobs (company_id, priority, id)"
        " WHERE state IN ('queued', 'running')"
    ),
    "CREATE INDEX ingest_jobs_running ON ingest_jobs (company_id) WHERE state = 'running'",
    # Partial, so that the planner never looks for open jobs among all that ever were.
    (
        "CREATE INDEX ingest_jobs_claimed ON ingest_jobs (company_id, claimed_at)"
        " WHERE claimed_at IS NOT NULL"
    ),
)

# An upload that was granted takes its declared size at once; a lapsed or deleted one nothing.
_BYTES = """
    CASE WHEN {row}.status IN ('pending', 'processing', 'ready', 'failed')
         THEN {row}.size + {row}.stored_bytes ELSE 0 END
"""
_GRANTS = "CASE WHEN {row}.status = 'pending' THEN 1 ELSE 0 END"

_COUNT_USAGE = f"""
CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    company uuid;
    more_bytes bigint := 0;
    more_grants bigint := 0;
BEGIN
    IF TG_OP <> 'DELETE' THEN
        company := NEW.company_id;
        more_bytes := {_BYTES.format(row="NEW")};
        more_grants := {_GRANTS.format(row="NEW")};
    END IF;
    IF TG_OP <> 'INSERT' THEN
        company := OLD.company_id;
        more_bytes := more_bytes - {_BYTES.format(row="OLD")};
        more_grants := more_grants - {_GRANTS.format(row="OLD")};
    END IF;
    IF more_bytes <> 0 OR more_grants <> 0 THEN
        INSERT INTO company_usage AS u (company_id, slot, bytes, open_grants)
            VALUES (company, pg_backend_pid() % {_SLOTS}, more_bytes, more_grants)
            ON CONFLICT (company_id, slot) DO UPDATE
            SET bytes = u.bytes + excluded.bytes,
                open_grants = u.open_grants + excluded.open_grants;
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER count_usage
    AFTER INSERT OR DELETE OR UPDATE OF status, size, stored_bytes ON media_assets
    FOR EACH ROW EXECUTE FUNCTION count_usage()
"""
# The owner of the tables is under their policies, too, and none lets it see rows.
_COUNT_WHAT_IS_THERE = (
    "ALTER TABLE media_assets NO FORCE ROW LEVEL SECURITY",
    f"""
    INSERT INTO company_usage (company_id, slot, bytes, open_grants)
        SELECT company_id, 0, sum({_BYTES.format(row="a")}), sum({_GRANTS.format(row="a")})
        FROM media_assets a GROUP BY company_id
    """,
    "ALTER TABLE media_assets FORCE ROW LEVEL SECURITY",
)

_WALLS = (
    "ALTER TABLE company_usage ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE company_usage FORCE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE ON company_usage TO media_sign_api, media_internal",
    (
        "CREATE POLICY own_company ON company_usage TO media_sign_api"
        f" USING ({_OWN_COMPANY}) WITH CHECK ({_OWN_COMPANY})"
    ),
    "CREATE POLICY internal ON company_usage TO media_internal USING (true) WITH CHECK (true)",
)

# Two that sign at once may both take the last bytes: the bucket's own quota is the hard wall.
_SIGN_ASSET = """
CREATE FUNCTION sign_asset(
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
    SELECT sum(u.bytes), sum(u.open_grants) INTO used, grants FROM company_usage u
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
    for statement in (*_TABLES, *_COUNT_WHAT_IS_THERE, _COUNT_USAGE, _TRIGGER, *_WALLS):
        op.execute(statement)
    op.execute("DROP FUNCTION sign_asset")
    op.execute(_SIGN_ASSET)


def downgrade() -> None:
    raise NotImplementedError("0003 counts what companies use; restore a backup to go back")
