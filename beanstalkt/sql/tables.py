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
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

_ID = BigInteger().with_variant(Integer, "sqlite")
_TIME = (
    DateTime(timezone=True)
    .with_variant(mysql.TIMESTAMP(fsp=6), "mysql", "mariadb")
    .with_variant(TIMESTAMP(), "sqlite")
)
_LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class _Now(ColumnElement[Any]):
    """The time at which a row is inserted, as the default of a column."""

    inherit_cache = True


@compiles(_Now)
def _now(element: _Now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(_Now, "mysql", "mariadb")
def _now_of_mysql(element: _Now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP(6)"  # MySQL wants as many digits as the column has


_NOW = _Now()

metadata = MetaData()
"""The three tables."""

queued_job = Table(
    "queued_job",
    metadata,
    Column(
        "id", _ID, primary_key=True, autoincrement=True, doc="names the row; the job carries it"
    ),
    Column("http_method", String(10), nullable=False, server_default="POST", doc="of the request"),
    Column("url", Text, doc="of the request; NULL: the row has a payload"),
    Column("body", _LONG_TEXT, doc="of the request"),
    Column("headers", Text, doc="of the request: an object in JSON"),
    Column("payload", _BYTES, doc="the body of a job that is no request"),
    Column(
        "timeout_secs",
        Integer,
        nullable=False,
        server_default="60",
        doc="how long the request, or other work, may take",
    ),
    Column("tube", String(200), doc="NULL: that of the relay (--tube)"),
    Column(
        "priority",
        BigInteger,
        nullable=False,
        server_default="2147483648",
        doc="of the job; 0 is the most urgent",
    ),
    Column("ttr_secs", BigInteger, doc="of the job; NULL: made of timeout_secs"),
    Column("not_before", _TIME, doc="no worker gets the job before; NULL: at once"),
    Column(
        "unique_key",
        String(255),
        doc="two rows that are not sent yet never have the same; NULL once it is sent",
    ),
    Column(
        "state",
        String(10),
        nullable=False,
        server_default="new",
        doc="new, claimed, sent, done, failed or in doubt",
    ),
    Column("claimed_by", String(255), doc="the name of the relay that is about to put the job"),
    Column("claimed_until", _TIME, doc="when other relays may claim the row again"),
    Column("sends", Integer, nullable=False, server_default="0", doc="how often the job was put"),
    Column("server", String(255), doc="the name of the server that has the job, or had it"),
    Column("server_run", String(64), doc="tells one run of that server from another"),
    Column("beanstalk_job_id", BigInteger, doc="the number of the job at that server"),
    Column("sent_at", _TIME, doc="when the job was put last"),
    Column("last_started_at", _TIME, doc="when a handler began with the job last"),
    Column("last_finished_at", _TIME, doc="when a handler ended last"),
    Column(
        "created_at", _TIME, nullable=False, server_default=_NOW, doc="when the row was inserted"
    ),
    Column("last_response", Text, doc="the first two lines of the last answer"),
    Column("last_error", Text, doc="why the job failed last, or could not be put"),
    Column(
        "result_code",
        Integer,
        doc="0: success; 1: final failure; 2: failure that is tried again; NULL: not run yet",
    ),
    Column("http_status", Integer, doc="of the last answer"),
    Column(
        "remaining_retries",
        Integer,
        doc="how many attempts are left; NULL: as many as the runner is set to (max_attempts)",
    ),
    Column(
        "retry_delay_secs",
        Integer,
        doc="the delay before the next attempt; NULL: what the runner is set to (delay, backoff)",
    ),
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
    Column(
        "id",
        _ID,
        primary_key=True,
        autoincrement=True,
        doc="in the order in which events were written",
    ),
    Column(
        "event_id",
        String(64),
        nullable=False,
        unique=True,
        doc="the same event is never written twice",
    ),
    Column(
        "job_id", BigInteger, doc="the row in queued_job; NULL: the job is not from the outbox"
    ),
    Column("server", String(255), doc="the name or the URL of the server"),
    Column("server_run", String(64), doc="tells one run of that server from another"),
    Column("beanstalk_job_id", BigInteger, doc="the number of the job at that server"),
    Column("tube", String(200), doc="of the job"),
    Column(
        "event",
        String(10),
        nullable=False,
        doc="sent, started, finished, failed, released or buried",
    ),
    Column("attempt", Integer, doc="which attempt at the job it was"),
    Column("http_status", Integer, doc="of the answer"),
    Column("duration_ms", BigInteger, doc="from the reservation until the job was settled"),
    Column("msg", Text, doc="the error, and the first two lines of the answer"),
    Column("created_at", _TIME, nullable=False, server_default=_NOW, doc="when it happened"),
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
    Column(
        "version",
        Integer,
        primary_key=True,
        autoincrement=False,
        doc="a version that the database was given",
    ),
)
"""The versions of the schema that a database has been given."""
