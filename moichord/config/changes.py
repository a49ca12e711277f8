"""What of a changed configuration applies at once, and what needs a restart.

Owns the two lists, which together name every key. It must not know how a change is carried out. Pure; no error
leaves it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from moichord.config.block import Block
from moichord.config.settings import Settings

B = TypeVar("B", bound=Block)

NEEDS_RESTART = frozenset(
    {
        # The whole state is about these places.
        *("folders.inbox", "folders.work", "folders.done", "folders.failed", "state", "version"),
        # Threads, and the watch that they depend on, are there for the life of the process.
        *("workers", "upload.concurrency", "watch.observer", "web.enabled", "web.listen"),
    }
)
AT_ONCE: Mapping[str, tuple[str, ...]] = {
    "watch": (
        *("scan_interval", "settle_time", "ready_marker", "incomplete_timeout", "images", "ignore", "temporary"),
        *("sample_id", "mount_marker", "min_free_space", "limits.files", "limits.depth"),
    ),
    "metadata": (
        *("url", "method", "key", "key_header", "json", "params", "headers", "unknown_sample_grace", "proxy"),
        *("list_url", "list_ids"),
        *("timeout.connect", "timeout.read", "timeout.total", "tls.ca_file", "tls.client_cert", "tls.client_key"),
    ),
    "dicom": ("consistent", "record_changes", "signed", "non_image"),
    "upload": (
        *("url", "protocol", "method", "key", "key_header", "content_type", "fields", "file_field"),
        *("headers", "success.status", "success.json", "already_stored", "bandwidth_limit"),
        *("timeout.connect", "timeout.read", "timeout.stall"),
        *("tls.ca_file", "tls.client_cert", "tls.client_key", "proxy"),
    ),
    "analytics": (
        *("enabled", "url", "method", "key", "key_header", "json", "params", "headers", "proxy"),
        *("timeout.connect", "timeout.read", "timeout.total", "tls.ca_file", "tls.client_cert", "tls.client_key"),
    ),
    "retry": ("first_delay", "max_delay", "max_tries", "give_up_after"),
    "archive": ("images", "retention.done", "retention.failed", "retention.history"),
    "logging": ("level", "format", "file", "rotate", "keep"),
    "notify": ("urls", "events", "window", "silence_after", "working_hours", "report_url", "heartbeat_url"),
    "web": ("password_file", "read_only", "show_patient_data"),
}
AT_ONCE_BY_THEMSELVES = frozenset({"tags", "drain_timeout"})


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload brings: the settings to go by, the keys that changed, and those whose change must wait."""

    settings: Settings
    at_once: tuple[str, ...]
    after_restart: tuple[str, ...]


def changes(current: Settings, new: Settings) -> Changes:
    """`new` as far as it can apply while a daemon runs that goes by `current`; the rest stays as it is."""
    before, after = dict(leaves(current)), dict(leaves(new))
    changed = [key for key in after if after[key] != before[key]]
    kept = tuple(key for key in changed if key in NEEDS_RESTART)
    return Changes(_with(new, current, kept), tuple(key for key in changed if key not in kept), kept)


def leaves(block: Block, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that is no block itself, as it is written (`upload.timeout.stall`), with its value."""
    for name, field in type(block).model_fields.items():
        key, value = f"{above}{field.alias or name}", getattr(block, name)
        if isinstance(value, Block):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def _with(new: Settings, current: Settings, kept: tuple[str, ...]) -> Settings:
    for key in kept:
        new = _with_one(new, current, key.split("."))
    return new


def _with_one(new: B, current: B, path: list[str]) -> B:
    name = next(name for name, field in type(new).model_fields.items() if (field.alias or name) == path[0])
    value = getattr(current, name)
    if len(path) > 1:
        value = _with_one(getattr(new, name), value, path[1:])
    return new.model_copy(update={name: value})
