"""The tables as SQLAlchemy metadata, for programs that have migrations of their own.

``beanstalkt outbox schema`` prints the same as SQL. With Alembic, add this `metadata` to
``target_metadata``; the version is then Alembic's, and ``outbox migrate`` is not used. Create
`queued_job_version` with a row ``1`` in any case: the relay and the history look at it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects import mysql

_ID = BigInteger().with_variant(Integer, "sqlite")
_TIME = (
    DateTime(timezone=True)
    .with_variant(mysql.TIMESTAMP(fsp=6), "mysql", "mariadb")
    .with_variant(TIMESTAMP(), "sqlite")
)
_LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_NOW = func.current_timestamp()

metadata = MetaData()
"""The three tables."""

queued_job = Table(
    "queued_job",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("http_method", String(10), nullable=False, server_default="POST"),
    Column("url", Text),
    Column("body", _LONG_TEXT),
    Column("headers", Text),
    Column("payload", _BYTES),
    Column("timeout_secs", Integer, nullable=False, server_default="60"),
    Column("tube", String(200)),
    Column("priority", BigInteger, nullable=False, server_default="2147483648"),
    Column("ttr_secs", BigInteger),
    Column("not_before", _TIME),
    Column("unique_key", String(255)),
    Column("state", String(10), nullable=False, server_default="new"),
    Column("claimed_by", String(255)),
    Column("claimed_until", _TIME),
    Column("sends", Integer, nullable=False, server_default="0"),
    Column("server", String(255)),
    Column("server_run", String(64)),
    Column("beanstalk_job_id", BigInteger),
    Column("sent_at", _TIME),
    Column("last_started_at", _TIME),
    Column("last_finished_at", _TIME),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("last_response", Text),
    Column("last_error", Text),
    Column("result_code", Integer),
    Column("http_status", Integer),
    Column("remaining_retries", Integer, nullable=False, server_default="5"),
    Column("retry_delay_secs", Integer, nullable=False, server_default="60"),
    CheckConstraint("(url IS NULL) <> (payload IS NULL)", name="queued_job_url_or_payload"),
    CheckConstraint(
        "state IN ('new', 'claimed', 'sent', 'done', 'failed', 'in doubt')",
        name="queued_job_state",
    ),
    Index("queued_job_unique_key", "unique_key", unique=True),
    sqlite_autoincrement=True,  # an id is never used again, for jobs carry it
)
"""The outbox: a row a job."""

# MySQL and MariaDB have no partial indexes, and get a plain one in their place.
_NEW, _CLAIMED = text("state = 'new'"), text("state = 'claimed'")


def _has_partial(*arguments: Any, dialect: Any, **options: Any) -> bool:
    return dialect.name in ("postgresql", "sqlite")


def _has_none(*arguments: Any, dialect: Any, **options: Any) -> bool:
    return not _has_partial(dialect=dialect)


Index("queued_job_new", queued_job.c.id, postgresql_where=_NEW, sqlite_where=_NEW).ddl_if(
    callable_=_has_partial
)
Index(
    "queued_job_claimed",
    queued_job.c.claimed_until,
    postgresql_where=_CLAIMED,
    sqlite_where=_CLAIMED,
).ddl_if(callable_=_has_partial)
Index("queued_job_state_id", queued_job.c.state, queued_job.c.id).ddl_if(callable_=_has_none)

queued_job_log = Table(
    "queued_job_log",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("job_id", BigInteger),
    Column("server", String(255)),
    Column("server_run", String(64)),
    Column("beanstalk_job_id", BigInteger),
    Column("tube", String(200)),
    Column("event", String(10), nullable=False),
    Column("attempt", Integer),
    Column("http_status", Integer),
    Column("duration_ms", BigInteger),
    Column("msg", Text),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
)
"""The history: a row an event."""

_OURS = queued_job_log.c.job_id.is_not(None)
Index(
    "queued_job_log_job_id",
    queued_job_log.c.job_id,
    postgresql_where=_OURS,
    sqlite_where=_OURS,
)

queued_job_version = Table(
    "queued_job_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""The versions of the schema that a database has been given."""
