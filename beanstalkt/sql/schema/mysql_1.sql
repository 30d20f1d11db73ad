-- The outbox: a row a job, written by the program and put into beanstalkd by the relay.
CREATE TABLE queued_job (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    http_method varchar(10) NOT NULL DEFAULT 'POST',
    url text,
    body longtext,
    headers text,
    payload longblob,
    timeout_secs integer NOT NULL DEFAULT 60,
    tube varchar(200),
    priority bigint NOT NULL DEFAULT 2147483648,
    ttr_secs bigint,
    not_before timestamp(6) NULL,
    unique_key varchar(255),
    state varchar(10) NOT NULL DEFAULT 'new',
    claimed_by varchar(255),
    claimed_until timestamp(6) NULL,
    sends integer NOT NULL DEFAULT 0,
    server varchar(255),
    server_run varchar(64),
    beanstalk_job_id bigint,
    sent_at timestamp(6) NULL,
    last_started_at timestamp(6) NULL,
    last_finished_at timestamp(6) NULL,
    created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    last_response text,
    last_error text,
    result_code integer,
    http_status integer,
    remaining_retries integer,
    retry_delay_secs integer,
    CONSTRAINT queued_job_url_or_payload CHECK ((url IS NULL) <> (payload IS NULL)),
    CONSTRAINT queued_job_state
        CHECK (state IN ('new', 'claimed', 'sent', 'done', 'failed', 'in doubt')),
    -- NULL from the moment at which the row is sent, and so unique among those that are not.
    CONSTRAINT queued_job_unique_key UNIQUE (unique_key),
    INDEX queued_job_state_id (state, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- The history: a row an event. It has no foreign key, for it also knows jobs from elsewhere, and
-- may be kept longer, or shorter, than the jobs.
CREATE TABLE queued_job_log (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
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
    created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    CONSTRAINT queued_job_log_event_id UNIQUE (event_id),
    INDEX queued_job_log_job_id (job_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
