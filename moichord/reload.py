"""A changed configuration, taken over while the daemon runs: all of it that can change, or nothing.

Owns the order of a reload and what people are told of it. It must not know single keys (`config` does), nor the rooms
(they are given the new settings as a whole). No error leaves it that was foreseen: an invalid file leaves everything as
it was.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

from moichord import wiring
from moichord.apis.http import Client
from moichord.clock import Clock
from moichord.config import Settings
from moichord.config.changes import changes
from moichord.errors import ConfigurationInvalid
from moichord.status.phrases import count, moment

log = logging.getLogger(__name__)

Adopt = Callable[[Settings, wiring.Clients], None]


def _nothing_to_set_up(_settings: Settings, _secrets: Iterable[str]) -> None:
    """Whoever started the daemon has set up no logs."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where changed settings come from. `load` raises ConfigurationInvalid; `set_up_logs` is given the settings and
    every text that must not be written to a log, and raises OSError if the log cannot be opened."""

    load: Callable[[], Settings]
    set_up_logs: Callable[[Settings, Iterable[str]], None] = _nothing_to_set_up


class Configuration:
    """The settings that a daemon goes by now, and its clients; `require` raises ConfigurationInvalid for settings that
    another part of the daemon cannot use.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source | None,
        clock: Clock,
        connect: Callable[[Settings], wiring.Clients],
        require: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        require(settings)
        self.settings = settings
        self._require = require
        self.clients = connect(settings)
        self._source = source
        self._connect = connect
        self._clock = clock
        # Steps that have begun go on with the clients that they have; each is closed when the last of them has ended.
        self._known: WeakSet[Client] = WeakSet(self.clients.values())
        self._secrets = settings.secrets()
        self._rejected: tuple[float, list[str]] | None = None
        self._after_restart: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that nobody may read: those of before as well, which may be in use still, or be quoted later."""
        return self._secrets

    @property
    def notices(self) -> list[str]:
        """What people should know of the last reload."""
        said = []
        if self._rejected is not None:
            at, problems = self._rejected
            more = f" (and {count(len(problems) - 1, 'more problem')}: see the log)" if problems[1:] else ""
            since = moment(at, self._clock.now())
            first = problems[0].splitlines()[0]
            said.append(f"the changed configuration is invalid and not used since {since}: {first}{more}")
        if self._after_restart:
            said.append(f"the configuration has changed and needs a restart: {', '.join(self._after_restart)}")
        return said

    def reload(self, adopt: Adopt) -> None:
        """Read the configuration again; `adopt` lets the rooms go by it."""
        if self._source is None:
            log.warning("SIGHUP: there is no configuration to read again")
            return
        try:
            found = changes(self.settings, self._source.load())
            self._require(found.settings)
            clients = self._connect(found.settings)
            # Before the first use of a new key; the keys before are still in use.
            self._source.set_up_logs(found.settings, {*self._secrets, *found.settings.secrets()})
        except ConfigurationInvalid as error:
            self.reject(error.problems)
            return
        except OSError as error:
            self.reject([f"logging.file: {error.filename or 'the log'} cannot be opened: {error.strerror or error}"])
            return
        adopt(found.settings, clients)
        self.settings, self.clients = found.settings, clients
        self._known.update(clients.values())
        self._secrets = tuple({*self._secrets, *found.settings.secrets()})
        self._rejected, self._after_restart = None, found.after_restart
        if found.after_restart:
            log.warning("SIGHUP: needs a restart: %s", ", ".join(found.after_restart))
        log.info("SIGHUP: the configuration is reloaded: %s", ", ".join(found.at_once) or "nothing has changed")

    def stop_requests(self) -> None:
        """Break off every request in flight."""
        for client in list(self._known):
            client.stop_now()

    def close(self) -> None:
        for client in list(self._known):
            client.close()

    def reject(self, problems: list[str]) -> None:
        """Say that the file is not used, until one is; nothing else changes."""
        self._rejected = (self._clock.now(), problems)
        log.error("SIGHUP: the changed configuration is invalid; the one before stays in use: %s", "\n".join(problems))
