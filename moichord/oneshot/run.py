"""One sample from one directory: check everything, update the images where they lie, send them, trigger analytics.

Owns the order, and the life of what the steps work with. What is done in a step is the pipeline's. Errors: none of
moichord's own and no OSError, they end as exit codes; what is unforeseen leaves it, logged.

The images are planned twice. The first time shows that all of them can be tagged, before any is touched; the second
time, on the updated files, says what is sent: the files as they lie. So a second run sends the same bytes under the
same keys, and after a run that was cut short between two images the next one goes on.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from moichord import logs, wiring
from moichord.clock import Clock, SystemClock
from moichord.config import Settings, from_environment
from moichord.config.loading import ENVIRONMENT
from moichord.durable import remove_leftovers
from moichord.errors import ConfigurationInvalid, MoichordError, SampleFailure, UsageRefused
from moichord.oneshot.directory import images_of, linked_folders
from moichord.oneshot.environment import ENV_FILE, Variables, variables
from moichord.oneshot.journal import MemoryJournal
from moichord.oneshot.progress import Progress, showing
from moichord.oneshot.retrying import Retrying
from moichord.oneshot.voice import FAILED, Voice
from moichord.pipeline.archive_sample import lay, sync_folders_of
from moichord.pipeline.pipeline import Trip
from moichord.pipeline.upload_pool import UploadPool
from moichord.pipeline.wanted_tags import Tagging
from moichord.sample import State, Step, Submission, printable

log = logging.getLogger(__name__)

LOG_FILE = "moichor.log"  # spelled as the original script does
SUBMISSIONS = UUID("f89f6b00-822d-495f-8f54-f4ac05fd895b")
CHECKED = (Step.METADATA, Step.TAGS)
SENT = (*CHECKED, Step.UPLOAD, Step.ANALYTICS)
LOOK_FOR_INTERRUPT = 0.2


@dataclass(frozen=True)
class OneShot:
    """The flags of the original script. `backoff_attempts` retries follow the first try of each step."""

    sample_id: str
    directory: Path
    backoff_attempts: int = 5
    attempt_number: int = 1
    console_logs: bool = False


def run_once(options: OneShot, environ: Mapping[str, str], *, clock: Clock | None = None) -> int:
    """Send the sample and trigger its analytics; the exit code, 0 only if analytics was triggered.

    2 for options that make no sense, 75 when the tries of a step ended on a failure that may pass, 78 when the
    environment is incomplete, 130 when interrupted, 1 for all else. Reads `.env` and appends to `moichor.log` in the
    working directory. Call it from the main thread, the only one that Ctrl-C reaches.
    """
    found = variables(environ, Path(ENV_FILE))
    with showing(sys.stderr) as progress:
        voice = Voice(log_is_seen=options.console_logs, about={"sample": options.sample_id})
        try:
            _start_log(options, found)
        except OSError as error:
            sys.stderr.write(f"moichord: {LOG_FILE} cannot be written in the working directory: {error.strerror}\n")
            return FAILED
        try:
            return _ended(options, found, clock or SystemClock(), progress, voice)
        finally:
            logs.setup()


def _start_log(options: OneShot, found: Variables) -> None:
    keys = (found.values.get(name, "").strip() for name, (_, key) in ENVIRONMENT.items() if key == "key")
    stream = sys.stderr if options.console_logs else None
    logs.setup(file=Path(LOG_FILE), stream=stream, secrets=tuple(keys), colour=not found.values.get("NO_COLOR"))


def _ended(options: OneShot, found: Variables, clock: Clock, progress: Progress, voice: Voice) -> int:
    try:
        _require_sense(options)
        settings = _settings(found, voice)
        triggered = _send(options, settings, clock, progress, voice)
    except (MoichordError, OSError) as error:
        return voice.end(error)
    except BaseException:
        log.exception("unforeseen", extra={"sample": options.sample_id})
        raise
    voice.say(triggered)
    return 0


def _require_sense(options: OneShot) -> None:
    if not options.sample_id or options.attempt_number < 1 or options.backoff_attempts < 0:
        raise UsageRefused(
            "--sample_id must not be empty, --attempt_number is at least 1, --backoff_attempts at least 0.",
            remedy="Correct the command.",
        )


def _settings(found: Variables, voice: Voice) -> Settings:
    """From the variables; what a .env file says wrongly matters only if something is missing."""
    try:
        settings = from_environment(found.values)
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid([*error.problems, *found.problems], remedy=error.remedy) from error
    for warning in found.warnings:
        voice.warn(warning)
    for problem in found.problems:
        voice.warn(f"{problem}; this line is left out.")
    return settings


def _send(options: OneShot, settings: Settings, clock: Clock, progress: Progress, voice: Voice) -> str:
    """The whole way; returns how it ended well."""
    _require_images(options.directory, voice)
    stopping = threading.Event()
    calls = wiring.clients(settings, clock)
    pool = UploadPool(settings.upload.concurrency)

    def interrupt() -> None:
        stopping.set()
        for client in calls.values():
            client.stop_now()

    try:
        journal = MemoryJournal(_submission(options, clock), clock, stopping)
        equipment = wiring.equipment(settings, calls, pool, images_of, lambda *_: "", progress.sent, clock)
        trip = Trip(journal, equipment, options.directory)
        pauses = wiring.retry_policy(settings)
        retrying = Retrying(options.backoff_attempts, pauses, clock, stopping, voice.warn)
        _interruptibly(lambda: _carry_out(trip, journal, retrying, progress), interrupt)
    finally:
        pool.close()
        for client in calls.values():
            client.close()
    return _summary(journal)


def _require_images(directory: Path, voice: Voice) -> None:
    if not images_of(directory).images:
        raise SampleFailure(
            f"There is no *.dcm file in {printable(os.fspath(directory))} or below it.",
            remedy="Check --directory: it is the folder that holds the sample's images.",
        )
    for link in linked_folders(directory):
        voice.warn(f"{printable(link)} is a link to a folder: images in it are not taken.")


def _submission(options: OneShot, clock: Clock) -> Submission:
    """The same for the same sample ID and attempt number, so that a repetition is known by its keys."""
    return Submission(
        uuid=str(uuid5(SUBMISSIONS, f"{options.attempt_number}:{options.sample_id}")),
        sample_id=options.sample_id,
        folder_name=options.directory.name,
        attempt_number=options.attempt_number,
        state=State.PROCESSING,
        taken_at=clock.now(),
    )


def _carry_out(trip: Trip, journal: MemoryJournal, retrying: Retrying, progress: Progress) -> None:
    progress.at("checking the images")
    retrying.run(trip, journal, CHECKED)
    progress.at("updating tags")
    _update(trip)
    journal.replan()
    retrying.run(trip, journal, CHECKED)
    _require_updated(journal)
    progress.expect(journal.images())
    progress.at("sending")
    retrying.run(trip, journal, SENT)


def _update(trip: Trip) -> None:
    """Give every image its new tags where it lies; one at a time, each as a whole or not at all."""
    remove_leftovers(trip.folder)
    tagging = Tagging.from_json(trip.results[Step.TAGS])
    changed = [image for image in trip.journal.images() if image.changes and not image.carried]
    try:
        for image in changed:
            trip.journal.check_stop()
            lay(trip.folder, image, tagging, update=True)
            keywords = ", ".join(change.keyword for change in image.changes)
            about = {"sample": trip.journal.submission.sample_id}
            log.info("updated %s: %s", printable(image.relative_path), keywords, extra=about)
    finally:
        sync_folders_of(trip.folder, changed)


def _require_updated(journal: MemoryJournal) -> None:
    for image in journal.images():
        if image.changes and not image.carried:
            raise SampleFailure(
                f"{printable(image.relative_path)} was changed by another program after its tags were updated.",
                remedy="Let nothing else write into the folder, then run the command again.",
            )


def _interruptibly(work: Callable[[], None], interrupt: Callable[[], None]) -> None:
    """Do `work` in another thread, since on Windows Ctrl-C does not wake a main thread that waits for a lock."""
    with ThreadPoolExecutor(1, thread_name_prefix="oneshot") as executor:
        future = executor.submit(work)
        try:
            while not future.done():
                wait([future], LOOK_FOR_INTERRUPT)
        except KeyboardInterrupt:
            interrupt()
        future.result()


def _summary(journal: MemoryJournal) -> str:
    images = [image for image in journal.images() if image.to_send]
    before = sum(image.already_stored for image in images)
    known = f" ({before} of them before)" if before else ""
    return f"{len(images)} {'image is' if len(images) == 1 else 'images are'} stored{known}, analytics is triggered."
