"""The stand-in APIs as a command of their own: what `moichord sandbox` runs.

Owns the announcement and the line for each request. It must not know the terminal: `say` writes a line.
`UsageRefused` and `OSError` leave it, as from `StandInApis`.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from moichord.sample import Api
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.faults import Rehearsal
from moichord.sandbox.received import Received
from moichord.sandbox.stand_in import StandInApis


def run_sandbox(
    *,
    stop: threading.Event,
    say: Callable[[str], None],
    host: str = "127.0.0.1",
    port: int = 0,
    any_sample: bool = False,
    rehearsal: Rehearsal | None = None,
    record: Path | None = None,
    keep_files: Path | None = None,
) -> None:
    """Run the stand-in APIs until `stop` is set; say where they are, then one line for each request.

    Raises:
        UsageRefused: `host` is not a loopback address.
        OSError: the port is in use, or `record` or `keep_files` cannot be written.
    """
    apis = StandInApis(
        host=host,
        port=port,
        any_sample=any_sample,
        rehearsal=rehearsal,
        record=record,
        keep_files=keep_files,
        on_record=lambda received: say(line_of(received)),
    )
    with apis:
        for line in announcement(apis, any_sample=any_sample):
            say(line)
        stop.wait()


def announcement(apis: StandInApis, *, any_sample: bool) -> list[str]:
    """What a person needs to point moichord at these APIs: the variables, ready to be pasted, and the known samples."""
    exports = [f"export {name}={value}" for name, value in apis.environment().items()]
    known = "any sample ID is known" if any_sample else f"known samples: {', '.join(CATALOGUE)}"
    return ["# Stand-in APIs are listening; stop them with Ctrl-C.", *exports, f"# {known}"]


def line_of(received: Received) -> str:
    """One request in one line, without anything that stands for a patient."""
    answer = "no answer" if received.status is None else str(received.status)
    if received.api is Api.UPLOAD:
        about = f"{received.length} bytes, {received.sop_instance_uid or 'no SOPInstanceUID'}"
    else:
        about = received.sample_id or "no sample_id"
    return f"{received.api} {received.method} {answer} {about if received.method != 'OPTIONS' else 'probe'}" + (
        f" {received.stored}" if received.stored else ""
    )
