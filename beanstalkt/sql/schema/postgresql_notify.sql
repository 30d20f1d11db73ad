-- Wakes a relay that listens, at the commit of each transaction that has inserted rows.
CREATE OR REPLACE FUNCTION queued_job_notify() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NOTIFY queued_job; RETURN NULL; END $$;

DROP TRIGGER IF EXISTS queued_job_notify ON queued_job;

CREATE TRIGGER queued_job_notify AFTER INSERT ON queued_job
    FOR EACH STATEMENT EXECUTE FUNCTION queued_job_notify();
