"""What the SQLite ledger says: the tables, and its statements, put together of constants only."""

# ruff: noqa: S608

from __future__ import annotations

from groundlook_adapters.jobs.ledger import KEPT, LISTED

VERSION = 1
SCHEMA = """
drop table if exists job; drop table if exists task; drop table if exists schedule; drop table if exists kv;
create table job (
    id integer primary key autoincrement, kind text not null, project integer not null, state text not null,
    progress real not null default 0, message text not null default '', attempts integer not null default 0,
    created real not null, finished real, priority integer not null, key text not null,
    worker text not null default '', started real, asked real not null, due real not null,
    beats integer not null default 0, stop integer not null default 0
);
create index line on job (state, priority desc, id);
create index same on job (kind, project, key, state);
create index ended on job (project, state, id);
create table content (
    job integer references job (id) on delete cascade, name text, bytes blob not null, primary key (job, name)
)
"""
"""What lay here before version 1 is asked for again by the first sync. Contents, up to tens of MB, lie apart: a row
is written anew with every beat."""

_HEAD = "id, kind, project, state, progress, message, attempts, created, finished, priority, key"
_CONTENT = "coalesce((select bytes from content where job = job.id and name = '{}'), x'')"
_WHOLE = f"select {_HEAD}, {_CONTENT}, {_CONTENT}, worker, started from job".format("payload", "body")
_SAME = "kind = :kind and project = :project and key = :key"
_MINE = "id = :id and worker = :worker and attempts = :attempts"
_ENDED = "state in ('done', 'cancelled')"

ONE = f"{_WHOLE} where id = :id"
STATES = "select id, state from job where id in (select value from json_each(:ids))"
_LIST = f"select {_HEAD}, x'', x'', worker, started from job where {{}} order by id desc limit {LISTED}"
_OF = "coalesce(project = :project, true)"
ALL = _LIST.format(_OF)
DEAD = _LIST.format(f"state = 'failed' and {_OF}")

QUEUED = f"select min(id) from job where state = 'queued' and {_SAME}"
PUT = (
    "insert into job (kind, project, state, created, priority, key, asked, due) "
    "values (:kind, :project, 'queued', :now, :priority, :key, :now, :due)"
)
HURRY = (
    "update job set priority = max(priority, :priority), due = iif(attempts, due, min(due, :due)) "
    "where id = :id and (priority < :priority or (due > :due and attempts = 0))"
)
"""What failed before waits its time, whoever asks again."""
ATTACH = "insert or replace into content values (:id, :name, :bytes)"

HELD = f"{_WHOLE} where state = 'running' and worker = :worker"
NEXT = (
    "select id from job where state = 'queued' and kind in (select value from json_each(:kinds)) "
    "and (due <= :now or asked > :now) and not exists (select 1 from job as other where other.kind = job.kind "
    "and other.project = job.project and other.key = job.key and other.state = 'running') "
    "order by priority desc, id limit 1"
)
CLAIM = (
    "update job set state = 'running', attempts = attempts + 1, worker = :worker, started = :now, message = '', "
    f"progress = 0, beats = 0, stop = 0 where id = ({NEXT}) returning id"
)
BEAT = (
    f"update job set beats = beats + 1, progress = :progress, message = :message where {_MINE} and state = 'running' "
    "returning stop"
)
STATE = f"select state from job where {_MINE}"
"""Of a job, while it is its worker's."""
RUNNING = "select id, attempts, beats from job where state = 'running'"
MARKED = "select stop from job where id = :id and state = 'running' and attempts = :attempts and beats = :beats"
STOPPED = "select stop from job where id = :id"
QUEUE = (
    "update job set state = 'queued', message = :message, asked = :now, due = :due, worker = '', "
    "attempts = attempts - :less where id = :id"
)

END = (
    "update job set state = :state, message = :message, finished = :now, "
    "progress = iif(:state = 'done', 1, progress) where id = :id returning kind, project, key"
)
REDEEM = (
    "update job set state = 'cancelled', message = message || '; job ' || :id || ' did it later' "
    f"where state = 'failed' and {_SAME} and id != :id"
)
FORGET = (
    f"delete from job where {_ENDED} and project = :project and finished < :hour and id < (select id from job "
    f"where {_ENDED} and project = :project order by id desc limit 1 offset {KEPT - 1})"
)
FORGET_BODIES = "delete from content where name = 'body' and job in (select id from job where finished < :hour)"
STOP = "update job set stop = 1 where id = :id"
RETRY = (
    "update job set state = 'queued', attempts = 0, progress = 0, message = '', worker = '', started = null, "
    "finished = null, asked = :now, due = :now where id = :id"
)
