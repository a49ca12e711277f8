"""The error taxonomy. Every error says what is wrong, and `remedy` says what a person can do about it.

    MoichordError
    ├── ConfigurationInvalid       the settings cannot be used                              exit 78
    ├── UsageRefused               a command asks for what makes no sense now, by name      exit 1
    ├── NoDaemon                   the command needs a running daemon                       exit 4
    ├── StateInUse                 another daemon holds this state, or this work folder     exit 75
    ├── ForeignFolder              the work folder belongs to another state                 exit 78
    ├── StateUnusable              the database cannot be opened, or is of a newer version  exit 78
    │   └── StateOutdated          the database is of an older version: a daemon brings it forward
    ├── ListUnavailable            a list that a command needs cannot be had now            exit 75
    ├── FoldersUnwritable          the disk of the folders is full, read-only or failing    exit 75
    ├── StateUnwritable            a commit to the state failed: disk full, I/O error
    ├── NotTold                    whoever was to be told of something did not take it
    ├── Moved                      a file or folder is not where the state says it is
    ├── SampleFailure              a reason of the sample's own: it fails
    ├── Hold                       nothing is wrong with the sample: it waits
    ├── Stopped                    the daemon is stopping, or the sample was cancelled: leave what you do, at once
    └── ApiFailure                 a request did not end well; knows the API, the status and what may have been sent
        ├── ApiOutage              the server cannot serve anybody: its circuit opens
        ├── ApiTransient           the server may well answer later; may name the time
        └── ApiRefusal             the server refuses this request for good: the sample fails
            └── SampleUnknown      the metadata server does not know the sample, perhaps not yet

`dicom` raises errors of its own (`moichord.dicom.errors`), so that it can be used without moichord.
"""

from moichord.sample import Api


class MoichordError(Exception):
    """Base of all errors that moichord raises on purpose."""

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class ConfigurationInvalid(MoichordError):
    """The settings cannot be used; `problems` are one line each: `file:line:column: key: what is wrong`."""

    exit_code = 78

    def __init__(self, problems: list[str], *, remedy: str | None = None) -> None:
        super().__init__("\n".join(problems), remedy=remedy)
        self.problems = problems


class UsageRefused(MoichordError):
    """What was asked makes no sense in the present state."""


class NoDaemon(MoichordError):
    """The command needs a running daemon, and none holds the state."""

    exit_code = 4


class StateInUse(MoichordError):
    """Another daemon holds this state, or the state that this work folder belongs to."""

    exit_code = 75


class ForeignFolder(MoichordError):
    """The work folder carries the UUID of another state."""

    exit_code = 78


class StateUnusable(MoichordError):
    """The database cannot be opened, or was written by a newer moichord."""

    exit_code = 78


class StateOutdated(StateUnusable):
    """The database is of an older version, and the daemon has not brought it forward yet."""


class FoldersUnwritable(MoichordError):
    """The disk below the folders is full, read-only or failing: no fault of the settings, and it may end."""

    exit_code = 75


class ListUnavailable(MoichordError):
    """A list that a command needs from a server cannot be had now; it may be later."""

    exit_code = 75


class StateUnwritable(MoichordError):
    """A commit failed: nothing of it is in the database, and nothing may follow from it."""

    exit_code = 75


class NotTold(MoichordError):
    """A receiver of messages, reports or heartbeats did not take one. `refused`: it would never take this one."""

    def __init__(self, problem: str, *, refused: bool = False) -> None:
        super().__init__(problem)
        self.refused = refused


class Moved(MoichordError):
    """A file or folder is not where the state says it is."""


class SampleFailure(MoichordError):
    """The sample fails for a reason of its own. `brief` is the problem without values of its images, for logs."""

    def __init__(self, problem: str, *, remedy: str | None = None, brief: str | None = None) -> None:
        super().__init__(problem, remedy=remedy)
        self.brief = brief or problem


class Hold(MoichordError):
    """The sample waits without a fault of its own, until `seconds` have passed or what holds it ends."""

    def __init__(self, problem: str, *, held_by: str, seconds: float | None = None) -> None:
        super().__init__(problem)
        self.held_by = held_by
        self.seconds = seconds


class Stopped(MoichordError):
    """Leave what you do: the daemon is stopping, or the sample was cancelled.

    `maybe_done` says whether a request that this ended may have been carried out all the same.
    """

    def __init__(self, problem: str, *, maybe_done: bool = True) -> None:
        super().__init__(problem)
        self.maybe_done = maybe_done


class ApiFailure(MoichordError):
    """A request did not end well.

    `status` is the HTTP status or None if no answer came; `retry_after` seconds that the server asked for;
    `maybe_done` whether the server may have carried the request out all the same; `detail` what the server itself
    wrote, cut short and printable. It may name a patient: it is for receipts, failed/ and status, never for logs.
    """

    def __init__(
        self,
        problem: str,
        *,
        api: Api,
        remedy: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        maybe_done: bool = True,
        detail: str | None = None,
    ) -> None:
        super().__init__(problem, remedy=remedy)
        self.api = api
        self.status = status
        self.retry_after = retry_after
        self.maybe_done = maybe_done
        self.detail = detail


class ApiOutage(ApiFailure):
    """The server cannot serve anybody: unreachable, wrong credentials, wrong address."""


class ApiTransient(ApiFailure):
    """The server may well answer the same request later."""


class ApiRefusal(ApiFailure):
    """The server refuses this request for good."""


class SampleUnknown(ApiRefusal):
    """The metadata server does not know the sample: for good only once `unknown_sample_grace` is over."""
