-- The outbox: a row a job, written by the program and put into beanstalkd by the relay.
-- Times are UTC, as datetime('now') and strftime('%Y-%m-%d %H:%M:%f', 'now') write them.
CREATE TABLE queued_job (
    -- An id is never used again, for jobs carry it.
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    http_method varchar(10) NOT NULL DEFAULT 'POST',
    url text,
    body text,
    headers text,
    payload blob,
    timeout_secs integer NOT NULL DEFAULT 60,
    tube varchar(200),
    priority bigint NOT NULL DEFAULT 2147483648,
    ttr_secs bigint,
    not_before timestamp,
    unique_key varchar(255),
    state varchar(10) NOT NULL DEFAULT 'new',
    claimed_by varchar(255),
    claimed_until timestamp,
    sends integer NOT NULL DEFAULT 0,
    server varchar(255),
    server_run varchar(64),
    beanstalk_job_id bigint,
    sent_at timestamp,
    last_started_at timestamp,
    last_finished_at timestamp,
    created_at timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    last_response text,
    last_error text,
    result_code integer,
    http_status integer,
    remaining_retries integer,
    retry_delay_secs integer,
    CONSTRAINT queued_job_url_or_payload CHECK ((url IS NULL) <> (payload IS NULL)),
    CONSTRAINT queued_job_state
        CHECK (state IN ('new', 'claimed', 'sent', 'done', 'failed', 'in doubt'))
);

-- NULL from the moment at which the row is sent, and so unique among those that are not.
CREATE UNIQUE INDEX queued_job_unique_key ON queued_job (unique_key);
CREATE INDEX queued_job_new ON queued_job (id) WHERE state = 'new';
CREATE INDEX queued_job_claimed ON queued_job (claimed_until) WHERE state = 'claimed';

-- The history: a row an event. It has no foreign key, for it also knows jobs from elsewhere, and
-- may be kept longer, or shorter, than the jobs.
CREATE TABLE queued_job_log (
    id integer NOT NULL PRIMARY KEY,
    event_id varchar(64) NOT NULL,
    job_id bigint,
    server varchar(255),
    server_run varchar(64),
    beanstalk_job_id bigint,
    tube varchar(200),
    event varchar(10) NOT NULL,
    attempt integer,
    http_status integer,
    duration_ms bigint,
    msg text,
    created_at timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    CONSTRAINT queued_job_log_event_id UNIQUE (event_id)
);

CREATE INDEX queued_job_log_job_id ON queued_job_log (job_id) WHERE job_id IS NOT NULL;
