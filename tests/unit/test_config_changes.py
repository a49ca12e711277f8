"""Which keys apply at once on a reload, and which need a restart."""

from typing import Any

import pytest
import yaml

from moichord.config import Settings, read
from moichord.config.block import Block
from moichord.config.changes import AT_ONCE, AT_ONCE_BY_THEMSELVES, NEEDS_RESTART, changes, leaves

BASE: dict[str, Any] = {
    "version": 1,
    "metadata": {"url": "http://lab.test/m", "key": {"env": "KEY"}},
    "upload": {"url": "http://images.test/u", "key": None},
    "analytics": {"url": "http://analytics.test/a", "key": None},
}
KEY = {"KEY": "before"}


def settings(*blocks: dict[str, Any], environ: dict[str, str] = KEY) -> Settings:
    laid: dict[str, Any] = dict(BASE)
    for block in blocks:
        for name, value in block.items():
            laid[name] = {**laid.get(name, {}), **value} if isinstance(value, dict) else value
    return read(yaml.safe_dump(laid), "moichord.yaml", environ)


def keys_of(block: type[Block], above: str = "") -> set[str]:
    found = set()
    for key, field in block.keys().items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Block):
            found |= keys_of(inner, f"{above}{key}.")
        else:
            found.add(above + key)
    return found


def test_every_key_of_the_configuration_is_in_one_of_the_two_lists_and_no_other_is() -> None:
    at_once = {f"{block}.{key}" for block, keys in AT_ONCE.items() for key in keys} | AT_ONCE_BY_THEMSELVES
    assert at_once & NEEDS_RESTART == set()
    assert at_once | NEEDS_RESTART == keys_of(Settings)
    assert {key for key, _ in leaves(settings())} == keys_of(Settings)


@pytest.mark.parametrize(
    ("change", "at_once", "after_restart"),
    [
        ({}, (), ()),
        ({"watch": {"settle_time": "60s"}}, (), ()),
        ({"watch": {"settle_time": "5m"}}, ("watch.settle_time",), ()),
        ({"watch": {"limits": {"files": 7}}}, ("watch.limits.files",), ()),
        ({"tags": {"PatientName": "name"}}, ("tags",), ()),
        ({"metadata": {"json": None}}, ("metadata.json",), ()),
        (
            {"upload": {"concurrency": 9, "timeout": {"stall": "1m"}}},
            ("upload.timeout.stall",),
            ("upload.concurrency",),
        ),
        ({"folders": {"inbox": "/elsewhere/inbox"}}, (), ("folders.inbox",)),
        ({"folders": {"work": "/srv/moichord/other"}}, (), ("folders.work",)),
        (
            {"state": "/elsewhere/state.db", "workers": 1, "drain_timeout": "1s"},
            ("drain_timeout",),
            ("state", "workers"),
        ),
    ],
)
def test_a_change_is_named_by_its_key(change: dict[str, Any], at_once: tuple, after_restart: tuple) -> None:
    found = changes(settings(), settings(change))

    assert (found.at_once, found.after_restart) == (at_once, after_restart)


def test_what_needs_a_restart_stays_as_it_is_and_everything_else_is_taken_over() -> None:
    current = settings()
    new = settings(
        {"folders": {"inbox": "/else/inbox", "done": "/else/done"}, "upload": {"concurrency": 9, "content_type": "a/b"}}
    )

    found = changes(current, new).settings

    assert (found.folders, found.upload.concurrency) == (current.folders, 4)
    assert found.upload.content_type == "a/b"
    assert changes(found, new).after_restart == ("folders.inbox", "folders.done", "upload.concurrency")


def test_a_key_that_was_exchanged_in_its_place_is_a_change() -> None:
    found = changes(settings(), settings(environ={"KEY": "after"}))

    assert found.at_once == ("metadata.key",)
    assert found.settings.metadata.key is not None
    assert found.settings.metadata.key.reveal() == "after"
