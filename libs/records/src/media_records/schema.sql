-- The database of the pipeline: tables, then what keeps companies apart, then who may do what.
--
-- Owned by media_owner, who can log in nowhere; media_records.migrate makes the roles and runs
-- this. Every table has a company and forced row-level security: the owner's own functions are
-- under the policies, too. tables.py says what the columns mean.

---------------------------------------------------------------------------------- companies

-- A company whose bucket exists.
CREATE TABLE companies (
    company_id                  uuid PRIMARY KEY,
    bucket                      text NOT NULL,
    quota_bytes                 bigint NOT NULL,
    created_at                  timestamptz NOT NULL DEFAULT now(),
    verified_at                 timestamptz NOT NULL DEFAULT now(),
    retention_days              integer CHECK (retention_days > 0),
    retention_keeps_thumbnails  boolean
);
CREATE INDEX companies_to_verify ON companies (verified_at);

-- A company that asked for its first grant and has no bucket yet.
CREATE TABLE bucket_requests (
    company_id  uuid PRIMARY KEY,
    requested_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX bucket_requests_age ON bucket_requests (requested_at);

-- What a company uses is the sum of its slots. Each connection adds to a slot of its own, so that
-- the signatures of one company do not wait for one another.
CREATE TABLE company_usage (
    company_id  uuid NOT NULL,
    slot        smallint NOT NULL,
    bytes       bigint NOT NULL,
    pending     bigint NOT NULL,
    processing  bigint NOT NULL DEFAULT 0,
    ready       bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    expired     bigint NOT NULL DEFAULT 0,
    cancelled   bigint NOT NULL DEFAULT 0,
    deleted     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (company_id, slot)
) WITH (fillfactor = 50);

-- What a company wants of uploads, in versions that never change. One without a body says that
-- uploads from then on cannot ask for the name any more; those before it go by the version they have.
CREATE TABLE profiles (
    company_id  uuid NOT NULL,
    name        text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    version     integer NOT NULL CHECK (version > 0),
    body        text CHECK (octet_length(body) <= 65536),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, name, version)
);

------------------------------------------------------------------------------------- assets

-- Uploads that a client asked for together, and how many of them have each status. It is decided
-- while nothing of it is pending or processing.
CREATE TABLE batches (
    id               uuid PRIMARY KEY,
    company_id       uuid NOT NULL,
    client_metadata  jsonb,
    uploads          integer NOT NULL CHECK (uploads > 0),
    pending          integer NOT NULL,
    processing       integer NOT NULL DEFAULT 0,
    ready            integer NOT NULL DEFAULT 0,
    failed           integer NOT NULL DEFAULT 0,
    expired          integer NOT NULL DEFAULT 0,
    cancelled        integer NOT NULL DEFAULT 0,
    deleted          integer NOT NULL DEFAULT 0,
    key              text,
    request_hash     text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    decided_at       timestamptz,
    UNIQUE (company_id, id)
) WITH (fillfactor = 50);
CREATE INDEX batches_of_company ON batches (company_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX batches_by_key ON batches (company_id, key) WHERE key IS NOT NULL;
CREATE INDEX batches_age ON batches (decided_at) WHERE decided_at IS NOT NULL;

-- One upload and what became of it.
CREATE TABLE media_assets (
    id                 uuid PRIMARY KEY,
    company_id         uuid NOT NULL,
    file_name          text NOT NULL,
    content_type       text NOT NULL,
    size               bigint NOT NULL CHECK (size > 0),
    status             text NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'processing', 'ready', 'failed', 'expired', 'cancelled', 'deleted')),
    attempt            integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    bucket             text NOT NULL,
    profile            text NOT NULL DEFAULT 'default',
    profile_version    integer NOT NULL DEFAULT 1,
    own_profile        boolean NOT NULL DEFAULT false,
    uploaded_at        timestamptz,
    error_code         text,
    error_message      text,
    traceparent        text,
    grant_expires_at   timestamptz NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    processed_at       timestamptz,
    sweep_at           timestamptz,
    check_at           timestamptz NOT NULL DEFAULT now(),
    found_at           timestamptz,
    attempt_at         timestamptz,
    retired            boolean NOT NULL DEFAULT false,
    grant_swept        boolean NOT NULL DEFAULT false,
    probe              jsonb,
    warnings           text[] NOT NULL DEFAULT '{}',
    rerun_failed       integer,
    about              jsonb,
    batch_id           uuid,
    -- With the company in the key, no row can point at another company's asset.
    UNIQUE (company_id, id),
    FOREIGN KEY (company_id, batch_id) REFERENCES batches (company_id, id)
);
CREATE INDEX media_assets_of_batch ON media_assets (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX media_assets_of_company ON media_assets (company_id, created_at DESC, id DESC);
-- Partial, so that each look of the watcher costs what is found and not what there is.
CREATE INDEX media_assets_to_check ON media_assets (check_at)
    WHERE status IN ('pending', 'processing');
CREATE INDEX media_assets_to_sweep ON media_assets (sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX media_assets_deleted ON media_assets (sweep_at)
    WHERE sweep_at IS NOT NULL AND status IN ('deleted', 'cancelled') AND NOT retired;
CREATE INDEX media_assets_grants_to_sweep ON media_assets (grant_expires_at)
    WHERE NOT grant_swept AND uploaded_at IS NOT NULL;
CREATE INDEX media_assets_lapsed ON media_assets (updated_at) WHERE status = 'expired';
CREATE INDEX media_assets_by_age ON media_assets (company_id, created_at)
    WHERE status IN ('ready', 'failed', 'cancelled');
CREATE INDEX media_assets_outcomes ON media_assets (processed_at)
    WHERE processed_at IS NOT NULL;

-- What a client finds an asset by, which it says of it.
CREATE TABLE asset_metadata (
    asset_id    uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    value       text COLLATE "C" NOT NULL,
    company_id  uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (asset_id, key),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
-- In the order of a page. Policies let no other index than one of plain equality find them.
CREATE INDEX asset_metadata_by_value
    ON asset_metadata (company_id, key, value, created_at DESC, asset_id DESC);

-- An attempt beside the one that a ready asset is served by, which it replaces once it is complete.
-- It has found its upload to be as probe and warnings say. Where it fails, nothing changes.
CREATE TABLE reruns (
    asset_id         uuid NOT NULL,
    attempt          integer NOT NULL CHECK (attempt > 1),
    company_id       uuid NOT NULL,
    profile          text NOT NULL,
    profile_version  integer NOT NULL,
    own_profile      boolean NOT NULL,
    state            text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    probe            jsonb,
    warnings         text[] NOT NULL DEFAULT '{}',
    error_code       text,
    error_message    text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
    PRIMARY KEY (asset_id, attempt),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX reruns_running ON reruns (asset_id) WHERE state = 'running';
CREATE INDEX reruns_of_company ON reruns (company_id, profile, created_at);

-- Each change of an asset's status, for audits.
CREATE TABLE asset_transitions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id   uuid NOT NULL,
    asset_id     uuid NOT NULL,
    attempt      integer NOT NULL,
    from_status  text,
    to_status    text NOT NULL,
    service      text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX asset_transitions_of_asset ON asset_transitions (asset_id, id);

-- One stored object each: nothing is stored, served, counted or kept without a row. What lies
-- under an asset's prefix and has none is garbage. Attempt 0 has what is the asset's own: its
-- original. The first file of a name counts.
CREATE TABLE asset_files (
    asset_id          uuid NOT NULL,
    attempt           integer NOT NULL CHECK (attempt >= 0),
    name              text NOT NULL,
    company_id        uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('original', 'video', 'image', 'audio', 'thumbnail',
                          'picture', 'responsive', 'animation', 'preview', 'text', 'segment')),
    key               text COLLATE "C" NOT NULL,
    version_id        text,
    content_type      text NOT NULL,
    size              bigint NOT NULL CHECK (size >= 0),
    sha256            text,
    width             integer,
    height            integer,
    duration_seconds  double precision,
    stream            text,
    track             text,
    part              integer,
    layout            text,
    fence             bigint,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, attempt, name),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
-- In the order in which storage lists a bucket, to compare the two.
CREATE INDEX asset_files_by_key ON asset_files (company_id, key);

-- One piece of work on an attempt, leased, and fenced against who lost the lease. It is blocked
-- while it waits for others of its attempt. media_records.tasks alone ends one.
CREATE TABLE tasks (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id      uuid NOT NULL,
    asset_id        uuid NOT NULL,
    attempt         integer NOT NULL,
    name            text NOT NULL,
    kind            text NOT NULL,
    pool            text NOT NULL,
    params          text NOT NULL DEFAULT '{}',
    result          text,
    required        boolean NOT NULL DEFAULT true,
    priority        integer NOT NULL DEFAULT 0,
    cost_seconds    double precision NOT NULL DEFAULT 0,
    state           text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('blocked', 'queued', 'running', 'done', 'failed', 'cancelled')),
    waits_for       integer NOT NULL DEFAULT 0,
    not_before      timestamptz NOT NULL DEFAULT now(),
    tries           integer NOT NULL DEFAULT 0,
    preemptions        integer NOT NULL DEFAULT 0,
    fence           bigint NOT NULL DEFAULT 0,
    owner           text,
    lease_until     timestamptz,
    last_error      text,
    cpu_seconds     double precision,
    commands        text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    claimed_at      timestamptz,
    finished_at     timestamptz,
    CONSTRAINT tasks_of_attempt UNIQUE (asset_id, attempt, name),
    UNIQUE (company_id, id),
    CHECK ((state = 'blocked') = (waits_for > 0) OR state IN ('failed', 'cancelled')),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
-- Partial, so that the planner never looks for open tasks among all that ever were.
CREATE INDEX tasks_open ON tasks (pool, company_id, priority, id)
    WHERE state IN ('queued', 'running');
CREATE INDEX tasks_running ON tasks (pool, company_id) WHERE state = 'running';
CREATE INDEX tasks_blocked ON tasks (company_id) WHERE state = 'blocked';
CREATE INDEX tasks_done ON tasks (kind, finished_at) WHERE state = 'done';

-- What a task waits for: others of the same attempt.
CREATE TABLE task_needs (
    task_id     bigint NOT NULL,
    needs_id    bigint NOT NULL,
    company_id  uuid NOT NULL,
    PRIMARY KEY (task_id, needs_id),
    FOREIGN KEY (company_id, task_id) REFERENCES tasks (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, needs_id) REFERENCES tasks (company_id, id) ON DELETE CASCADE
);
CREATE INDEX task_needs_of ON task_needs (needs_id);

-- Seconds of work that a pool did for a company lately, as they were at a moment: they halve
-- with each minute since.
CREATE TABLE company_work (
    company_id  uuid NOT NULL,
    pool        text NOT NULL,
    seconds     double precision NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (company_id, pool)
) WITH (fillfactor = 50);

-- What a company was told last of how long an asset has to wait.
CREATE TABLE asset_waits (
    asset_id    uuid PRIMARY KEY,
    company_id  uuid NOT NULL,
    attempt     integer NOT NULL,
    place       integer NOT NULL CHECK (place > 0),
    ready_at    timestamptz,
    told_at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);

-------------------------------------------------------------------------------- the services

-- An upload in parts, which belongs to a pending asset. storage_id is what storage knows it by,
-- once a part was asked for; it is completing once all parts were there. It has ended once storage
-- has none of its parts any more.
CREATE TABLE uploads (
    asset_id       uuid PRIMARY KEY,
    company_id     uuid NOT NULL,
    part_size      bigint NOT NULL CHECK (part_size > 0),
    fingerprint    text,
    storage_id     text,
    completing_at  timestamptz,
    ended          boolean NOT NULL DEFAULT false,
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX uploads_to_end ON uploads (company_id) WHERE NOT ended;

-- The answer to a sign request that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    company_id    uuid NOT NULL,
    key           text NOT NULL,
    request_hash  text NOT NULL,
    asset_id      uuid NOT NULL,
    response      text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, key),
    FOREIGN KEY (company_id, asset_id) REFERENCES media_assets (company_id, id) ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- A one-use ticket for an event stream.
CREATE TABLE event_tickets (
    ticket_hash   text PRIMARY KEY,
    company_id    uuid NOT NULL,
    subject       text NOT NULL,
    stream_until  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX event_tickets_age ON event_tickets (expires_at);

-- Where a company hears of its events by HTTP. Types are those of the events, none means all.
-- Two secrets sign while one takes the place of the other.
CREATE TABLE webhook_endpoints (
    id             uuid PRIMARY KEY,
    company_id     uuid NOT NULL,
    url            text NOT NULL CHECK (octet_length(url) <= 2048),
    types          text[] NOT NULL DEFAULT '{}',
    secret         text NOT NULL,
    old_secret     text,
    old_until      timestamptz,
    enabled        boolean NOT NULL DEFAULT true,
    failing_since  timestamptz,
    disabled_at    timestamptz,
    told           boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, id)
);
CREATE INDEX webhook_endpoints_of_company ON webhook_endpoints (company_id) WHERE enabled;
CREATE INDEX webhook_endpoints_to_tell ON webhook_endpoints (disabled_at) WHERE NOT told;

-- One event for one endpoint, leased while it is sent. It is there as soon as the event is.
CREATE TABLE webhook_deliveries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id    uuid NOT NULL,
    endpoint_id   uuid NOT NULL,
    event_id      uuid NOT NULL,
    event_type    text NOT NULL,
    body          text NOT NULL,
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    tries         integer NOT NULL DEFAULT 0,
    not_before    timestamptz NOT NULL DEFAULT now(),
    fence         bigint NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    answer        text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    tried_at      timestamptz,
    UNIQUE (endpoint_id, event_id),
    FOREIGN KEY (company_id, endpoint_id)
        REFERENCES webhook_endpoints (company_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, not_before)
    WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

-- A record that waits for Kafka.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    producer    text NOT NULL,
    company_id  uuid NOT NULL,
    topic       text NOT NULL,
    key         bytea,
    value       bytea,
    headers     text NOT NULL DEFAULT '[]',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_of_producer ON outbox (producer, id);

-- A record that a consumer could not take, as it stands in its dead-letter topic. The company is
-- nil where the record names none.
CREATE TABLE dead_letters (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    kafka_offset  bigint NOT NULL,
    company_id    uuid NOT NULL,
    filed_at      timestamptz NOT NULL,
    key           bytea,
    value         bytea,
    headers       text NOT NULL DEFAULT '[]',
    state         text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'redriven', 'discarded')),
    settled_at    timestamptz,
    PRIMARY KEY (topic, partition, filed_at, kafka_offset)
);
CREATE INDEX dead_letters_open ON dead_letters (topic) WHERE state = 'open';
CREATE INDEX dead_letters_age ON dead_letters (filed_at);

----------------------------------------------------------------------------------- functions

-- What a company uses: its files, and what its open grants may still store. Each is one statement
-- of PL/pgSQL, whose plan a connection keeps: a signature waits for the first. A function in SQL
-- would be parsed and planned by each transaction anew.
CREATE FUNCTION granted_bytes(status text, uploaded_at timestamptz, size bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN status = 'pending' AND uploaded_at IS NULL THEN size ELSE 0 END
$$;
CREATE FUNCTION count_asset() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The OLD of an insert and the NEW of a deletion are null in all their columns.
    INSERT INTO public.company_usage AS u VALUES (
        coalesce(NEW.company_id, OLD.company_id), pg_backend_pid() % 16,
        public.granted_bytes(NEW.status, NEW.uploaded_at, NEW.size)
            - public.granted_bytes(OLD.status, OLD.uploaded_at, OLD.size),
        (NEW.status = 'pending' IS TRUE)::int - (OLD.status = 'pending' IS TRUE)::int,
        (NEW.status = 'processing' IS TRUE)::int - (OLD.status = 'processing' IS TRUE)::int,
        (NEW.status = 'ready' IS TRUE)::int - (OLD.status = 'ready' IS TRUE)::int,
        (NEW.status = 'failed' IS TRUE)::int - (OLD.status = 'failed' IS TRUE)::int,
        (NEW.status = 'expired' IS TRUE)::int - (OLD.status = 'expired' IS TRUE)::int,
        (NEW.status = 'cancelled' IS TRUE)::int - (OLD.status = 'cancelled' IS TRUE)::int,
        (NEW.status = 'deleted' IS TRUE)::int - (OLD.status = 'deleted' IS TRUE)::int)
    ON CONFLICT (company_id, slot) DO UPDATE SET
        bytes = u.bytes + excluded.bytes,
        pending = u.pending + excluded.pending,
        processing = u.processing + excluded.processing,
        ready = u.ready + excluded.ready,
        failed = u.failed + excluded.failed,
        expired = u.expired + excluded.expired,
        cancelled = u.cancelled + excluded.cancelled,
        deleted = u.deleted + excluded.deleted;
    RETURN NULL;
END $$;
CREATE TRIGGER count_asset
    AFTER INSERT OR DELETE OR UPDATE OF status, size, uploaded_at ON media_assets
    FOR EACH ROW EXECUTE FUNCTION count_asset();
-- A batch's row is locked from the change of an asset to the end of its transaction: of several that
-- decide a batch at once, one sees that all are decided.
CREATE FUNCTION count_in_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.batches AS b SET
        pending = b.pending + (NEW.status = 'pending')::int - (OLD.status = 'pending')::int,
        processing = b.processing + (NEW.status = 'processing')::int
            - (OLD.status = 'processing')::int,
        ready = b.ready + (NEW.status = 'ready')::int - (OLD.status = 'ready')::int,
        failed = b.failed + (NEW.status = 'failed')::int - (OLD.status = 'failed')::int,
        expired = b.expired + (NEW.status = 'expired')::int - (OLD.status = 'expired')::int,
        cancelled = b.cancelled + (NEW.status = 'cancelled')::int
            - (OLD.status = 'cancelled')::int,
        deleted = b.deleted + (NEW.status = 'deleted')::int - (OLD.status = 'deleted')::int,
        decided_at = CASE
            WHEN NEW.status IN ('pending', 'processing') THEN NULL
            WHEN OLD.status NOT IN ('pending', 'processing') THEN b.decided_at
            WHEN b.pending + b.processing = 1 THEN now()
        END
    WHERE b.id = NEW.batch_id;
    RETURN NULL;
END $$;
CREATE TRIGGER count_in_batch AFTER UPDATE OF status ON media_assets FOR EACH ROW
    WHEN (NEW.batch_id IS NOT NULL AND NEW.status <> OLD.status)
    EXECUTE FUNCTION count_in_batch();
CREATE FUNCTION count_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.company_usage AS u (company_id, slot, bytes, pending) VALUES (
        coalesce(NEW.company_id, OLD.company_id), pg_backend_pid() % 16,
        coalesce(NEW.size, 0) - coalesce(OLD.size, 0), 0)
    ON CONFLICT (company_id, slot) DO UPDATE SET bytes = u.bytes + excluded.bytes;
    RETURN NULL;
END $$;
CREATE TRIGGER count_file AFTER INSERT OR DELETE OR UPDATE OF size ON asset_files
    FOR EACH ROW EXECUTE FUNCTION count_file();

-- What clients hear of goes to the company's endpoints as well, in the transaction that it tells of:
-- as the owner, since who writes an event may know nothing of endpoints and their secrets.
CREATE FUNCTION queue_deliveries() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    body text;
    event jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM public.webhook_endpoints e
        WHERE e.company_id = NEW.company_id AND e.enabled) THEN RETURN NULL; END IF;
    body := convert_from(NEW.value, 'UTF8');
    event := body::jsonb;
    INSERT INTO public.webhook_deliveries (company_id, endpoint_id, event_id, event_type, body)
    SELECT e.company_id, e.id, (event->>'id')::uuid, event->>'type', body
    FROM public.webhook_endpoints e
    WHERE e.company_id = NEW.company_id AND e.enabled
        AND (e.types = '{}' OR event->>'type' = ANY (e.types))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_deliveries AFTER INSERT ON outbox FOR EACH ROW
    WHEN (NEW.topic IN ('media_status', 'media_processed')) EXECUTE FUNCTION queue_deliveries();

-- One round trip for the most frequent write. Its transaction is the statement's own, so the
-- company that it sets ends with it. A key that was used before returns the stored answer. Two
-- that sign at once may both take the last bytes: the bucket's own quota is the hard wall.
CREATE FUNCTION sign_asset(
    p_company uuid, p_asset uuid, p_file_name text, p_content_type text, p_size bigint,
    p_bucket text, p_expires timestamptz, p_traceparent text,
    p_key text, p_hash text, p_response text, p_max_grants bigint DEFAULT NULL,
    p_profile text DEFAULT NULL, p_built_in integer DEFAULT 1, p_about jsonb DEFAULT NULL,
    p_part_size bigint DEFAULT NULL, p_fingerprint text DEFAULT NULL,
    OUT request_hash text, OUT response text, OUT refused text
) LANGUAGE plpgsql AS $$
DECLARE
    wanted text := coalesce(p_profile, 'default');
    own integer;
    offered boolean;
BEGIN
    PERFORM set_config('app.company_id', p_company::text, true);
    IF p_key IS NOT NULL THEN
        PERFORM forget_lapsed_key(p_company, p_key);
        PERFORM pg_advisory_xact_lock(hashtextextended(p_company::text || p_key, 0));
        SELECT k.request_hash, k.response INTO request_hash, response FROM idempotency_keys k
            WHERE k.company_id = p_company AND k.key = p_key;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT p.version, p.body IS NOT NULL INTO own, offered FROM profiles p
        WHERE p.company_id = p_company AND p.name = wanted ORDER BY p.version DESC LIMIT 1;
    offered := coalesce(offered, false);
    IF NOT offered AND wanted <> 'default' THEN refused := 'unknown_profile'; RETURN; END IF;
    SELECT CASE
        WHEN coalesce(sum(u.bytes), 0) + p_size
            > (SELECT c.quota_bytes FROM companies c WHERE c.company_id = p_company)
        THEN 'quota_exceeded'
        WHEN sum(u.pending) >= p_max_grants THEN 'too_many_open_grants'
    END INTO refused FROM company_usage u WHERE u.company_id = p_company;
    IF refused IS NOT NULL THEN RETURN; END IF;
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket,
                              grant_expires_at, traceparent, profile, profile_version, own_profile,
                              about)
        VALUES (p_asset, p_company, p_file_name, p_content_type, p_size, p_bucket,
                p_expires, p_traceparent, wanted, CASE WHEN offered THEN own ELSE p_built_in END,
                offered, p_about);
    IF p_part_size IS NOT NULL THEN
        INSERT INTO uploads (asset_id, company_id, part_size, fingerprint)
            VALUES (p_asset, p_company, p_part_size, p_fingerprint);
    END IF;
    IF p_about ? 'metadata' THEN
        INSERT INTO asset_metadata (asset_id, key, value, company_id, created_at)
            SELECT p_asset, m.key, m.value, p_company, now()
            FROM jsonb_each_text(p_about->'metadata') m;
    END IF;
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response)
            VALUES (p_company, p_key, p_hash, p_asset, p_response);
    END IF;
END $$;

-- All grants of a batch, or none. A key that was used before returns the batch of that time.
CREATE FUNCTION sign_batch(
    p_company uuid, p_batch uuid, p_metadata jsonb, p_uploads jsonb, p_bucket text,
    p_traceparent text, p_key text, p_hash text, p_max_grants bigint, p_built_in integer,
    p_expires timestamptz,
    OUT batch_id uuid, OUT request_hash text, OUT refused text
) LANGUAGE plpgsql AS $$
DECLARE
    n integer := jsonb_array_length(p_uploads);
BEGIN
    IF p_key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_company::text || p_key, 1));
        UPDATE batches b SET key = NULL WHERE b.company_id = p_company AND b.key = p_key
            AND b.created_at < now() - interval '24 hours';
        SELECT b.id, b.request_hash INTO batch_id, request_hash FROM batches b
            WHERE b.company_id = p_company AND b.key = p_key;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT CASE
        WHEN coalesce(sum(u.bytes), 0)
                + (SELECT sum((one->>'size')::bigint) FROM jsonb_array_elements(p_uploads) one)
            > (SELECT c.quota_bytes FROM companies c WHERE c.company_id = p_company)
        THEN 'quota_exceeded'
        WHEN coalesce(sum(u.pending), 0) + n > p_max_grants THEN 'too_many_open_grants'
    END INTO refused FROM company_usage u WHERE u.company_id = p_company;
    IF refused IS NOT NULL THEN RETURN; END IF;
    INSERT INTO batches (id, company_id, client_metadata, uploads, pending, key, request_hash)
        VALUES (p_batch, p_company, p_metadata, n, n, p_key, p_hash);
    INSERT INTO media_assets (id, company_id, batch_id, file_name, content_type, size, bucket,
                              grant_expires_at, traceparent, profile, profile_version, own_profile,
                              about)
        SELECT one.id, p_company, p_batch, one.file_name, one.content_type, one.size, p_bucket,
            p_expires, p_traceparent, one.wanted,
            CASE WHEN newest.offered THEN newest.version ELSE p_built_in END,
            coalesce(newest.offered, false), one.about
        FROM (
            SELECT r.*, coalesce(r.profile, 'default') AS wanted
            FROM jsonb_to_recordset(p_uploads) AS r (
                id uuid, file_name text, content_type text, size bigint, profile text, about jsonb)
        ) AS one LEFT JOIN (
            SELECT DISTINCT ON (p.name) p.name, p.version, p.body IS NOT NULL AS offered
            FROM profiles p WHERE p.company_id = p_company ORDER BY p.name, p.version DESC
        ) AS newest ON newest.name = one.wanted
        WHERE one.wanted = 'default' OR newest.offered;
    -- The caller's transaction ends without any of it.
    IF (SELECT count(*) FROM media_assets a WHERE a.batch_id = p_batch) < n THEN
        refused := 'unknown_profile';
        RETURN;
    END IF;
    INSERT INTO uploads (asset_id, company_id, part_size, fingerprint)
        SELECT r.id, p_company, r.part_size, r.fingerprint
        FROM jsonb_to_recordset(p_uploads) AS r (id uuid, part_size bigint, fingerprint text)
        WHERE r.part_size IS NOT NULL;
    INSERT INTO asset_metadata (asset_id, key, value, company_id, created_at)
        SELECT r.id, m.key, m.value, p_company, now()
        FROM jsonb_to_recordset(p_uploads) AS r (id uuid, about jsonb),
            jsonb_each_text(r.about->'metadata') m;
END $$;

-- Removing rows is no right of the services below: LOCK TABLE would come with it, and stop all.
-- These remove what each of them may, as the owner, whom the policies bind as well.
CREATE FUNCTION forget_lapsed_key(p_company uuid, p_key text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.idempotency_keys WHERE company_id = p_company AND key = p_key
        AND created_at < now() - interval '24 hours'
$$;
CREATE FUNCTION forget_relayed(p_ids bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.outbox WHERE id = ANY (p_ids)
$$;
CREATE FUNCTION redeem_ticket(
    p_hash text, OUT company_id uuid, OUT stream_until timestamptz, OUT valid boolean
) RETURNS SETOF record
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.event_tickets WHERE ticket_hash = p_hash
        RETURNING company_id, stream_until, expires_at > now()
$$;
CREATE FUNCTION forget_files(p_asset uuid, p_kinds text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.asset_files WHERE asset_id = p_asset AND kind = ANY (p_kinds)
$$;
CREATE FUNCTION forget_stream(p_asset uuid, p_attempt integer, p_stream text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.asset_files
        WHERE asset_id = p_asset AND attempt = p_attempt AND stream = p_stream
$$;
CREATE FUNCTION forget_attempts(p_asset uuid, p_first integer, p_last integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.asset_files
        WHERE asset_id = p_asset AND attempt BETWEEN p_first AND p_last AND kind <> 'original'
$$;
CREATE FUNCTION forget_named(p_asset uuid, p_attempt integer, p_names text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.asset_files
        WHERE asset_id = p_asset AND attempt = p_attempt AND name = ANY (p_names)
$$;
-- With the secret itself nobody needs to read the one before it.
CREATE FUNCTION rotate_secret(p_endpoint uuid, p_secret text, p_both_for interval)
    RETURNS SETOF uuid
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    UPDATE public.webhook_endpoints
        SET old_secret = secret, old_until = now() + p_both_for, secret = p_secret
        WHERE id = p_endpoint RETURNING id
$$;
CREATE FUNCTION forget_endpoint(p_endpoint uuid) RETURNS SETOF uuid
    LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    DELETE FROM public.webhook_endpoints WHERE id = p_endpoint RETURNING id
$$;
REVOKE ALL ON FUNCTION forget_lapsed_key, forget_relayed, redeem_ticket, forget_files,
    forget_stream, forget_named, forget_attempts, forget_endpoint, rotate_secret,
    queue_deliveries FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_endpoint, rotate_secret TO media_sign_api;
GRANT EXECUTE ON FUNCTION forget_stream, forget_named, forget_attempts TO media_internal;
GRANT EXECUTE ON FUNCTION forget_files TO media_sign_api, media_internal;
GRANT EXECUTE ON FUNCTION forget_lapsed_key TO media_sign_api;
GRANT EXECUTE ON FUNCTION forget_relayed TO media_relay;
GRANT EXECUTE ON FUNCTION redeem_ticket TO media_notifier;

------------------------------------------------------------------------ which rows: policies

DO $$
DECLARE
    name text;
    -- After a SET LOCAL the setting reads '' rather than NULL, and ''::uuid would raise.
    own text := 'company_id = NULLIF(current_setting(''app.company_id'', true), '''')::uuid';
BEGIN
    FOR name IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    END LOOP;
    -- What sign_api may see and write belongs to the company that its transaction has set.
    FOREACH name IN ARRAY ARRAY['companies', 'bucket_requests', 'company_usage', 'media_assets',
        'asset_files', 'asset_transitions', 'asset_waits', 'idempotency_keys', 'outbox', 'profiles',
        'tasks', 'uploads', 'webhook_endpoints', 'webhook_deliveries', 'batches', 'asset_metadata']
    LOOP
        EXECUTE format('CREATE POLICY own_company ON %I TO media_sign_api'
            ' USING (%s) WITH CHECK (%2$s)', name, own);
    END LOOP;
    -- Ingest and the watcher serve all companies.
    FOREACH name IN ARRAY ARRAY['companies', 'company_usage', 'media_assets',
        'asset_files', 'asset_transitions', 'asset_waits', 'tasks', 'task_needs', 'company_work',
        'outbox', 'profiles', 'reruns', 'batches']
    LOOP
        EXECUTE format('CREATE POLICY internal ON %I TO media_internal'
            ' USING (true) WITH CHECK (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['bucket_requests', 'idempotency_keys', 'event_tickets',
        'dead_letters', 'uploads', 'webhook_deliveries']
    LOOP
        EXECUTE format('CREATE POLICY watcher ON %I TO media_watcher'
            ' USING (true) WITH CHECK (true)', name);
    END LOOP;
    EXECUTE format('CREATE POLICY lapsed ON idempotency_keys TO media_owner'
        ' USING (%s AND created_at < now() - interval ''24 hours'') WITH CHECK (false)', own);
    -- forget_files(), and rows of files that go with their asset's, run as the owner.
    FOREACH name IN ARRAY ARRAY['asset_files', 'company_usage'] LOOP
        EXECUTE format('CREATE POLICY forgotten ON %I TO media_owner USING (%s) WITH CHECK (%2$s)',
            name, own || ' OR pg_has_role(session_user, ''media_internal'', ''MEMBER'')');
    END LOOP;
END $$;
-- The notifier sends events of all companies. They are queued as the owner, by whoever tells them.
DO $$
DECLARE
    name text;
    own text := 'company_id = NULLIF(current_setting(''app.company_id'', true), '''')::uuid';
BEGIN
    FOREACH name IN ARRAY ARRAY['webhook_endpoints', 'webhook_deliveries'] LOOP
        EXECUTE format('CREATE POLICY notifier ON %I TO media_notifier'
            ' USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY queued ON %I TO media_owner USING (%s) WITH CHECK (%2$s)',
            name, own || ' OR pg_has_role(session_user, ''media_internal'', ''MEMBER'')');
    END LOOP;
END $$;
CREATE POLICY tickets ON event_tickets TO media_notifier USING (true) WITH CHECK (true);
CREATE POLICY redeemed ON event_tickets TO media_owner
    USING (pg_has_role(session_user, 'media_notifier', 'MEMBER')) WITH CHECK (false);
-- A relay sends the records of its own service.
CREATE POLICY relay ON outbox TO media_relay, media_owner USING (
    producer = 'sign_api' AND pg_has_role(session_user, 'media_sign_api', 'MEMBER')
    OR producer = 'ingest' AND pg_has_role(session_user, 'media_ingest', 'MEMBER')
    OR producer = 'watcher' AND pg_has_role(session_user, 'media_watcher', 'MEMBER')
) WITH CHECK (false);

------------------------------------------------------------------ which statements: grants

GRANT SELECT ON alembic_version TO media_sign_api, media_internal, media_notifier;

GRANT SELECT ON companies TO media_sign_api, media_internal;
GRANT INSERT, UPDATE (quota_bytes, verified_at, retention_days, retention_keeps_thumbnails)
    ON companies TO media_watcher;

-- Operators act with the watcher's login. Nobody changes or removes what is published.
GRANT SELECT ON profiles TO media_sign_api, media_internal;
GRANT INSERT ON profiles TO media_watcher;

GRANT INSERT ON bucket_requests TO media_sign_api;
GRANT SELECT, DELETE ON bucket_requests TO media_watcher;

-- By column: a right to change the whole table would come with LOCK TABLE. What says which row
-- it is, and whose, never changes.
GRANT SELECT, INSERT,
    UPDATE (bytes, pending, processing, ready, failed, expired, cancelled, deleted)
    ON company_usage TO media_sign_api, media_internal;

GRANT INSERT ON media_assets TO media_sign_api;
GRANT DELETE ON media_assets TO media_watcher;
GRANT SELECT, UPDATE (
    file_name, content_type, size, status, attempt, bucket, uploaded_at, error_code,
    error_message, traceparent, grant_expires_at, updated_at, processed_at, sweep_at, check_at,
    found_at, attempt_at, retired, grant_swept, probe, warnings
) ON media_assets TO media_sign_api, media_internal;
GRANT UPDATE (about) ON media_assets TO media_sign_api;
-- What a ready asset was made by changes with the attempt that replaces another.
GRANT UPDATE (profile, profile_version, own_profile, rerun_failed) ON media_assets TO media_internal;
GRANT SELECT, INSERT, UPDATE (state, probe, warnings, error_code, error_message, ended_at)
    ON reruns TO media_internal;

GRANT SELECT, UPDATE (pending, processing, ready, failed, expired, cancelled, deleted, decided_at)
    ON batches TO media_sign_api, media_internal;
GRANT INSERT, UPDATE (key) ON batches TO media_sign_api;
GRANT DELETE ON batches TO media_watcher;
GRANT SELECT, INSERT ON asset_metadata TO media_sign_api;

GRANT SELECT, INSERT ON asset_transitions TO media_sign_api, media_internal;
GRANT SELECT ON asset_files TO media_sign_api;
GRANT SELECT, INSERT, UPDATE (key, version_id, sha256) ON asset_files TO media_internal;
GRANT SELECT, INSERT, UPDATE (
    state, waits_for, not_before, tries, preemptions, fence, owner, lease_until, last_error,
    claimed_at, finished_at, result, cpu_seconds, commands
) ON tasks TO media_internal;
-- Clients ask for pictures of another moment by a task.
GRANT SELECT, INSERT ON tasks TO media_sign_api;
GRANT SELECT, INSERT ON task_needs TO media_internal;
GRANT SELECT, INSERT, UPDATE (seconds, at) ON company_work TO media_internal;
GRANT SELECT ON asset_waits TO media_sign_api;
GRANT SELECT, INSERT, UPDATE (attempt, place, ready_at, told_at) ON asset_waits TO media_internal;

GRANT SELECT, INSERT, UPDATE (storage_id, completing_at) ON uploads TO media_sign_api;
GRANT SELECT, UPDATE (ended) ON uploads TO media_watcher;

-- A secret is told when it is made, and never again.
GRANT SELECT (id, company_id, url, types, old_until, enabled, failing_since, disabled_at, created_at),
    INSERT, UPDATE (url, types, enabled, failing_since, disabled_at)
    ON webhook_endpoints TO media_sign_api;
GRANT SELECT, INSERT, UPDATE (state, tries, not_before, lease_until) ON webhook_deliveries
    TO media_sign_api;
GRANT SELECT, UPDATE (enabled, failing_since, disabled_at, told) ON webhook_endpoints
    TO media_notifier;
GRANT SELECT, UPDATE (state, tries, not_before, fence, lease_until, answer, tried_at)
    ON webhook_deliveries TO media_notifier;
GRANT SELECT, DELETE ON webhook_deliveries TO media_watcher;

GRANT SELECT, INSERT ON idempotency_keys TO media_sign_api;
GRANT SELECT, DELETE ON idempotency_keys TO media_watcher;

GRANT SELECT, INSERT ON event_tickets TO media_notifier;
GRANT SELECT, DELETE ON event_tickets TO media_watcher;

GRANT INSERT ON outbox TO media_sign_api, media_internal;
GRANT SELECT ON outbox TO media_relay, media_watcher;

GRANT SELECT, INSERT, DELETE, UPDATE (state, settled_at) ON dead_letters TO media_watcher;
