"""
Tables, row-level security and grants.

Roles are made by media_records.migrate; this runs as media_owner, which owns every table and
can log in nowhere.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE companies (
    company_id uuid PRIMARY KEY,
    bucket text NOT NULL,
    quota_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE media_assets (
    id uuid PRIMARY KEY,
    company_id uuid NOT NULL,
    file_name text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'processing', 'ready', 'failed', 'expired', 'cancelled', 'deleted')),
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    bucket text NOT NULL,
    upload_key text NOT NULL,
    upload_version_id text,
    uploaded_at timestamptz,
    processed_key text,
    thumbnail_key text,
    duration_seconds double precision,
    width integer,
    height integer,
    error_code text,
    error_message text,
    traceparent text,
    grant_expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    removals integer NOT NULL DEFAULT 0,
    UNIQUE (company_id, id)
);
CREATE INDEX media_assets_of_company ON media_assets (company_id, created_at DESC, id DESC);
CREATE INDEX media_assets_unfinished ON media_assets (status, updated_at)
    WHERE status IN ('pending', 'processing', 'failed');
CREATE INDEX media_assets_to_remove ON media_assets (removals, updated_at)
    WHERE status = 'deleted' AND removals < 2;

CREATE TABLE asset_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id uuid NOT NULL,
    asset_id uuid NOT NULL,
    attempt integer NOT NULL,
    from_status text,
    to_status text NOT NULL,
    service text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX asset_transitions_of_asset ON asset_transitions (asset_id, id);

CREATE TABLE ingest_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id uuid NOT NULL,
    asset_id uuid NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    priority integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    owner text,
    lease_until timestamptz,
    source_version_id text,
    source_size bigint NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT ingest_jobs_one_per_attempt UNIQUE (asset_id, attempt),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX ingest_jobs_open ON ingest_jobs (priority, id) WHERE state IN ('queued', 'running');

CREATE TABLE asset_results (
    asset_id uuid NOT NULL,
    attempt integer NOT NULL,
    part text NOT NULL,
    company_id uuid NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, attempt, part),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);

CREATE TABLE idempotency_keys (
    company_id uuid NOT NULL,
    key text NOT NULL,
    request_hash text NOT NULL,
    asset_id uuid NOT NULL,
    response text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, key),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE event_tickets (
    ticket_hash text PRIMARY KEY,
    company_id uuid NOT NULL,
    subject text NOT NULL,
    stream_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    producer text NOT NULL,
    company_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    headers text NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_of_producer ON outbox (producer, id);
"""

# What sign_api may see and write belongs to the company that its transaction has set.
# After a SET LOCAL the setting reads '' rather than NULL, and ''::uuid would raise.
_OWN_COMPANY = "company_id = NULLIF(current_setting('app.company_id', true), '')::uuid"

# table: (what sign_api may do, what internal services may do)
_ACCESS = {
    "companies": ("SELECT, INSERT, UPDATE", "SELECT"),
    "media_assets": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE"),
    "asset_transitions": ("SELECT, INSERT", "SELECT, INSERT"),
    "ingest_jobs": (None, "SELECT, INSERT, UPDATE, DELETE"),
    "asset_results": (None, "SELECT, INSERT, DELETE"),
    "idempotency_keys": ("SELECT, INSERT, UPDATE, DELETE", "SELECT, DELETE"),
    "event_tickets": (None, "SELECT, DELETE"),
    "outbox": ("INSERT", "SELECT, INSERT"),
}

# One round trip for the most frequent write. Its transaction is the statement's own, so the
# company that it sets ends with it. A key that was used before returns the stored answer.
_SIGN_ASSET = """
CREATE FUNCTION sign_asset(
    p_company uuid, p_asset uuid, p_file_name text, p_content_type text, p_size bigint,
    p_bucket text, p_upload_key text, p_expires timestamptz, p_traceparent text,
    p_key text, p_hash text, p_response text,
    OUT request_hash text, OUT response text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
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
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket, upload_key,
                              grant_expires_at, traceparent)
        VALUES (p_asset, p_company, p_file_name, p_content_type, p_size, p_bucket, p_upload_key,
                p_expires, p_traceparent);
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response)
            VALUES (p_company, p_key, p_hash, p_asset, p_response);
    END IF;
END $$;
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):  # asyncpg prepares one statement at a time
        if statement.strip():
            op.execute(statement)
    for table, (sign_api, internal) in _ACCESS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        if sign_api:
            op.execute(f"GRANT {sign_api} ON {table} TO media_sign_api")
            op.execute(
                f"CREATE POLICY own_company ON {table} TO media_sign_api "
                f"USING ({_OWN_COMPANY}) WITH CHECK ({_OWN_COMPANY})"
            )
        op.execute(f"GRANT {internal} ON {table} TO media_internal")
        op.execute(
            f"CREATE POLICY internal ON {table} TO media_internal USING (true) WITH CHECK (true)"
        )
    op.execute("GRANT SELECT, INSERT, DELETE ON event_tickets TO media_notifier")
    op.execute(
        "CREATE POLICY tickets ON event_tickets TO media_notifier USING (true) WITH CHECK (true)"
    )
    op.execute("GRANT SELECT, DELETE ON outbox TO media_relay")
    op.execute("CREATE POLICY relay ON outbox TO media_relay USING (true)")
    op.execute(_SIGN_ASSET)
    op.execute("GRANT SELECT ON alembic_version TO media_sign_api, media_internal, media_notifier")


def downgrade() -> None:
    op.execute("DROP FUNCTION sign_asset")
    op.execute(f"DROP TABLE {', '.join(reversed(_ACCESS))}")
