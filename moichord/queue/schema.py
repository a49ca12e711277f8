"""The tables, and the transitions between a submission's states.

Owns the database's shape. It must not know how rows are changed (`transitions`, `journal`, `circuits`, `requests`)
or read for people (`views`). No error leaves it.

Times are seconds since the epoch, UTC, as floats. A folder's name and an image's path are bytes, because file names
are bytes. Columns named `result`, `reply`, `detail` hold JSON. A `number` is never given again, so that what is said
of a deleted row cannot hit a newer one.

    receiving ──take──> ready ──claim──> processing ──finish──> done
        (arrivals)       ^ ^                │  │ ├──fail────> failed ────┐
                         │ └────release─────┘  │ └──cancel──> cancelled ─┤
                         │                     └─defer, hold─> waiting ──┤ (claim: processing again)
                         └───────────────────────retry──────────────────┘

`receiving` folders have no UUID yet and live in `arrivals`. A submission's row is written before its folder is
moved: until the folder is in work, `intent` is "claim" and the state stays receiving. `intent` "conclude" says that the
folder is on its way to `place` in done or failed, "bring_back" that it is on its way back into work, "delete" that it
is being deleted there because it is old enough.
"""

import os
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy import BigInteger as _BigInteger

SCHEMA_VERSION = 1

# SQLite gives rowids only to INTEGER; other databases need 64 bits for sizes and times in nanoseconds.
BigInteger = _BigInteger().with_variant(Integer(), "sqlite")


class FileName(TypeDecorator[str]):
    """A name or relative path: `str` with surrogate escapes in Python (PEP 383), bytes in the database."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        return None if value is None else os.fsencode(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else os.fsdecode(value)


class Sentence(TypeDecorator[str]):
    """Text for people. What no UTF-8 can hold (half of a surrogate pair, a byte of a name) becomes a visible escape."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")


class FileNumber(TypeDecorator[int]):
    """What a file system says of a file and may not fit into 63 bits: inodes of some shares, times after 2262."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> int | None:
        return None if value is None else int(value)


tables = MetaData()

facts = Table(  # single values: schema_version, state_uuid, paused_at, clock_offset, passed_over, boot, copied_at, ...
    "facts",
    tables,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)

arrivals = Table(  # folders seen in the inbox and not taken yet
    "arrivals",
    tables,
    Column("folder_name", FileName, primary_key=True),
    Column("sample_id", String),
    Column("reason", Sentence, nullable=False),
    Column("manifest", String, nullable=False),
    Column("first_seen_at", Double, nullable=False),
    Column("last_change_at", Double, nullable=False),
    Column("file_count", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
)

attempts = Table(  # the last attempt number of each sample ID; never purged
    "attempts",
    tables,
    Column("sample_id", String, primary_key=True),
    Column("last_attempt", Integer, nullable=False),
)

submissions = Table(
    "submissions",
    tables,
    Column("uuid", String, primary_key=True),
    Column("sample_id", String, nullable=False),
    Column("folder_name", FileName, nullable=False),
    Column("attempt_number", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("step", String, nullable=False),
    Column("intent", String),  # claim | conclude | bring_back | delete: decided, and not yet confirmed
    Column("outcome", String),  # done | failed | cancelled, once decided
    Column("place", FileName),  # the folder's name in done or failed
    Column("reason", Sentence),  # why it waits, or how it ended
    Column("remedy", Sentence),  # what a person can do
    Column("doomed", Sentence),  # known at the taking: it must fail, for this reason
    Column("owner", String),  # whose claim it is; one daemon needs none: for several on one state, when leases lapse
    Column("held_by", String),  # api:upload, disk:done, settling, ...: it waits without a fault of its own
    Column("held_since", Double),
    Column("held_seconds", Double, nullable=False),
    Column("probing", String),  # the API whose open circuit's one probe it is, while it is processed
    Column("probed_at", Double),  # when it last was a probe
    Column("next_try_at", Double),  # when it may be claimed; set only while ready or waiting, and no circuit holds it
    Column("taken_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("manifest", String, nullable=False),
    Column("manifest_at", Double),  # when the files were last seen to change; null: not since they were taken
    Column("file_count", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("smallest_image", BigInteger, nullable=False),
    Column("repetition", Integer, nullable=False),  # deliberate repetitions of analytics
    Column("crashes", Integer, nullable=False),  # how often moichord broke off while it was processed, without progress
    Column("deleted_at", Double),  # when retention took its folder away
    Index("submissions_due", "next_try_at"),
    Index("submissions_in_state", "state"),
    Index("submissions_moving", "intent"),
    Index("submissions_of_sample", "sample_id", "attempt_number"),
    Index("submissions_finished", "finished_at"),
    Index("submissions_suspect", "crashes"),
)

steps = Table(
    "steps",
    tables,
    Column("submission", ForeignKey("submissions.uuid", ondelete="CASCADE"), primary_key=True),
    Column("step", String, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("held_before", Double, nullable=False),  # the submission's held_seconds when the step began
    Column("tries", Integer, nullable=False),  # what retry counts
    Column("failures", Integer, nullable=False),  # in a row, counted or not
    Column("successes_seen", Integer, nullable=False),
    Column("outage_turns", Integer, nullable=False),
    Column("outage_successes", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("last_problem", Sentence),
    Column("result", JSON),
)

images = Table(
    "images",
    tables,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("submission", ForeignKey("submissions.uuid", ondelete="CASCADE"), nullable=False),
    Column("relative_path", FileName, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", FileNumber, nullable=False),
    Column("inode", FileNumber, nullable=False),
    Column("sop_instance_uid", String, nullable=False),
    Column("header_length", BigInteger, nullable=False),
    Column("header_digest", String, nullable=False),
    Column("tail_offset", BigInteger, nullable=False),
    Column("tail_length", BigInteger, nullable=False),
    Column("changes", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("carried", Boolean, nullable=False),
    Column("duplicate_of", FileName),
    Column("requests", Integer, nullable=False),  # that may have stored it; committed before the first byte
    Column("acknowledged_at", Double),
    Column("status", Integer),
    Column("reply", JSON),
    Column("already_stored", Boolean, nullable=False),
    Column("refused", Sentence),
    Column("tail_digest", String),
    Column("sha256", String),
    Index("images_of_submission", "submission"),
    sqlite_autoincrement=True,
)

circuits = Table(  # one per API; `outage.Circuit` persisted
    "circuits",
    tables,
    Column("api", String, primary_key=True),
    Column("open_since", Double),
    Column("reason", Sentence),
    Column("remedy", Sentence),
    Column("failures", Integer, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("next_probe_at", Double),
    Column("successes", BigInteger, nullable=False),
)

history = Table(  # one row for every change of state, every request of a person, and what befell all (no sample ID)
    "history",
    tables,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("sample_id", String, nullable=False),
    Column("submission", String),
    Column("state", String),
    Column("step", String),
    Column("text", Sentence, nullable=False),
    Column("detail", JSON),
    Index("history_at", "at"),
    Index("history_of_sample", "sample_id", "number"),
    Index("history_of_submission", "submission"),
    sqlite_autoincrement=True,
)

requests = Table(  # what people asked for; the daemon carries it out
    "requests",
    tables,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),  # retry | cancel
    Column("submission", String, nullable=False),
    Column("from_step", String),
    Column("done_at", Double),
    Column("outcome", Sentence),
    Index("requests_open", "done_at"),
    sqlite_autoincrement=True,
)
