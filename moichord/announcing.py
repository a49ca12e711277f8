"""The threads that look ahead and tell people: outlook, messages, reports, heartbeat; wired, and not started yet.

Owns which part is given to which, and what of storage and inbox people are told of as a condition. It must not know
how anybody is told. Errors: ConfigurationInvalid for receivers that cannot be used.
"""

import logging
import platform
import threading
from collections.abc import Callable

from moichord.apis.receiver import Receiver
from moichord.clock import Clock
from moichord.composition import Rooms
from moichord.config import Notify, Settings
from moichord.logs import RecentLines, Redaction
from moichord.pulse import Pulse
from moichord.queue.announcements import Announcements
from moichord.queue.conditions import Condition, Conditions
from moichord.queue.database import Database
from moichord.queue.space import Space
from moichord.reload import Configuration
from moichord.status.notify.failure_report import failure_report, hidden_in
from moichord.status.notify.heartbeat import Heartbeat
from moichord.status.notify.messages import Messages
from moichord.status.notify.receivers import addressees
from moichord.status.notify.reports import Reports
from moichord.status.outlook import Outlook
from moichord.status.readiness import reasons
from moichord.storage import Key, Storage

DISK_PATIENCE = 600.0
JSON = {"Content-Type": "application/json"}

Start = Callable[[str, Callable[[], None]], object]
"""Starts a thread with a name and something to do."""


def require_usable(settings: Settings) -> None:
    """Raises ConfigurationInvalid if messages could not be sent as configured."""
    addressees(settings.notify)


class Announcing:
    """One daemon's. `configuration` has the settings that it goes by now."""

    def __init__(
        self, rooms: Rooms, database: Database, configuration: Configuration, clock: Clock, pulse: Pulse
    ) -> None:
        self._rooms = rooms
        self._configuration = configuration
        self._clock = clock
        self._pulse = pulse
        self._place = platform.node() or "this machine"
        self._lines = RecentLines()
        self._announcements = Announcements(database)
        self._outlook = self._made_outlook(Space(database), Conditions(database, clock))
        self._messages = Messages(
            self._announcements,
            self._notify,
            addressees,
            clock,
            self._place,
            self._without_secrets,
            lambda: self._outlook.unrecorded,
        )
        report, heartbeat = Receiver("notify.report_url", clock), Receiver("notify.heartbeat_url", clock)
        self._reports = Reports(
            self._announcements,
            lambda: self._notify().report_url,
            self._report,
            lambda url, body: report.tell("POST", url, body, JSON),
            clock,
        )
        self._heartbeat = Heartbeat(
            lambda: self._notify().heartbeat_url, self._reasons, lambda url: heartbeat.tell("GET", url), clock
        )

    @property
    def notices(self) -> list[str]:
        """What people should know."""
        parts = (self._messages, self._reports, self._heartbeat, self._outlook)
        return [notice for part in parts for notice in part.notices]

    def begin(self, start: Start, stopping: threading.Event) -> None:
        """Start what runs even while the daemon waits for a share. Nobody needs to wait for its end."""
        logging.getLogger().addHandler(self._lines)
        start("messages", lambda: self._messages.run(stopping))
        start("reports", lambda: self._reports.run(stopping))

    def beat(self, start: Start, stopping: threading.Event) -> None:
        """Start the heartbeat: not before a first look has shown whether all is well."""
        start("heartbeat", lambda: self._heartbeat.run(stopping))

    def look_ahead(self, start: Start, stopping: threading.Event) -> None:
        """Start what looks at disks and inbox, which may wait for a share."""
        start("outlook", lambda: self._outlook.run(stopping))

    def end(self) -> None:
        """Keep no more lines."""
        logging.getLogger().removeHandler(self._lines)

    def waits_for(self, problem: str) -> None:
        """The daemon has started, and waits for a share."""
        self._outlook.awaits("start", Condition("share", problem, "the share is there, and moichord goes on"))

    def _made_outlook(self, space: Space, conditions: Conditions) -> Outlook:
        folders, state = self._configuration.settings.folders, self._configuration.settings.state
        places = {"work": folders.work, "done": folders.done, "failed": folders.failed, "state": state.parent}
        return Outlook(
            *(self._rooms.views, space, places, self._notify, self._clock, self._pulse),
            conditions,
            lambda: ailments(self._rooms.storage, self._rooms.intake.problems),
        )

    def _notify(self) -> Notify:
        return self._configuration.settings.notify

    def _report(self, submission: str) -> bytes:
        detail = self._rooms.views.detail(submission)
        masked = Redaction({*self._configuration.secrets, *hidden_in(detail)})
        return failure_report(detail, self._lines.of(submission, masked), self._place)

    def _without_secrets(self, text: str) -> str:
        return Redaction(self._configuration.secrets)(text)

    def _reasons(self) -> list[str]:
        """As /readyz has them; and who hangs, since nobody may look for that but a supervisor."""
        hangs = [f"the thread {one.thread} hangs" for one in self._pulse.hanging()]
        outages, paused_at = self._announcements.hindrances()
        return reasons([*self._rooms.hindrances.sentences, *hangs], outages, paused_at, self._clock.now())


def ailments(storage: Storage, of_inbox: list[str]) -> dict[str, Condition]:
    """What people are told of when it begins and when it ends, by name."""
    found = {_name(key): _condition(key, one.text, gone=one.gone) for key, one in storage.problems.items()}
    if of_inbox:
        found["the inbox"] = Condition("share", of_inbox[0], "the inbox can be used again")
    return found


def _condition(key: Key, text: str, *, gone: bool) -> Condition:
    if gone:
        return Condition("share", text, f"{_name(key)} can be used again")
    return Condition("disk_low", text, f"the disk of {_name(key)} has enough free again", DISK_PATIENCE)


def _name(key: Key) -> str:
    return "the state" if key == "state" else f"the folder {key}"
