"""A reload is all or nothing, and says what came of it."""

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from moichord.config import Settings
from moichord.errors import ConfigurationInvalid
from moichord.pulse import Pulse
from moichord.reload import Configuration, Source
from moichord.wiring import Clients, clients
from tests.fakes import FakeClock
from tests.unit.test_config_changes import settings


class Site:
    """A configuration file that can be changed, the rooms that adopt it, and the logs that are set up by it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.file: Callable[[], Settings] = settings
        self.adopted: list[Settings] = []
        self.masked: set[str] = set()
        self.log_error: OSError | None = None
        pulse = Pulse(self.clock)
        source = Source(self._load, self._set_up_logs)
        self.configuration = Configuration(settings(), source, self.clock, lambda new: clients(new, self.clock, pulse))

    def _load(self) -> Settings:
        return self.file()

    def _set_up_logs(self, _settings: Settings, secrets: Any) -> None:
        if self.log_error is not None:
            raise self.log_error
        self.masked = set(secrets)

    def reload(self) -> list[str]:
        self.configuration.reload(self._adopt)
        return self.configuration.notices

    def _adopt(self, new: Settings, _clients: Clients) -> None:
        self.adopted.append(new)


@pytest.fixture
def site() -> Site:
    return Site()


def refuse() -> Settings:
    raise ConfigurationInvalid(["moichord.yaml:3:1: surprise: is no key", "moichord.yaml:4:1: other: is no key"])


def test_an_invalid_file_leaves_settings_clients_and_rooms_as_they_were(site: Site) -> None:
    before = (site.configuration.settings, site.configuration.clients)
    site.file = refuse

    (notice,) = site.reload()

    assert "moichord.yaml:3:1: surprise: is no key (and 1 more problem: see the log)" in notice
    assert (site.configuration.settings, site.configuration.clients) == before
    assert site.adopted == []
    site.file = settings
    assert site.reload() == []


def test_an_address_that_cannot_be_used_changes_nothing_either(site: Site) -> None:
    site.file = lambda: settings(environ={"KEY": "a"}).model_copy(
        update={"upload": settings().upload.model_copy(update={"url": "http://"})}
    )
    (notice,) = site.reload()
    assert "upload" in notice
    assert site.adopted == []


def test_a_log_that_cannot_be_opened_changes_nothing_either(site: Site) -> None:
    site.log_error = PermissionError(13, "Permission denied", "/var/log/moichord.log")

    (notice,) = site.reload()

    assert "logging.file: /var/log/moichord.log cannot be opened: Permission denied" in notice
    assert site.adopted == []


def test_a_key_that_was_exchanged_is_masked_from_then_on_and_so_is_the_one_before(site: Site) -> None:
    site.file = lambda: settings(environ={"KEY": "after"})

    assert site.reload() == []

    assert site.masked == {"before", "after"}


def test_what_needs_a_restart_is_named_until_the_file_is_as_it_was(site: Site) -> None:
    site.file = lambda: settings({"workers": 9, "folders": {"inbox": "/else/inbox"}, "drain_timeout": "1s"})

    for _ in range(2):
        assert site.reload() == ["the configuration has changed and needs a restart: folders.inbox, workers"]

    assert (site.adopted[-1].workers, site.adopted[-1].drain_timeout) == (4, 1.0)
    site.file = settings
    assert site.reload() == []


def test_clients_of_before_can_be_stopped_as_long_as_a_step_has_them_and_go_with_it(site: Site) -> None:
    step = dict(site.configuration.clients)
    stopped: list[str] = []
    for api, client in step.items():
        client.stop_now = lambda name=str(api): stopped.append(name)  # type: ignore[method-assign]
    gone = [ref(client) for client in step.values()]
    site.reload()

    site.configuration.stop_requests()
    assert sorted(stopped) == ["analytics", "metadata", "upload"]

    step.clear()
    del client
    gc.collect()
    assert [one() for one in gone] == [None, None, None]
