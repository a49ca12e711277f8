"""The settings: every key, what it means, its default, and which combinations are impossible.

Owns the keys. Their descriptions and defaults, in the order they stand here, make config.example.yaml. It must not
know YAML or where a value was written. Errors: pydantic's, which `loading` gives their places.

Defaults are written as in the file (`60s`) and validated like it. Settings are frozen; two that say the same are equal.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from moichord.config import values as kinds
from moichord.config.block import Block, Impossible, entry
from moichord.config.calls import Analytics, Metadata, Upload
from moichord.config.notify import Notify
from moichord.config.web import Web
from moichord.config.whereabouts import FullPath, Whereabouts


class Limits(Block):
    """What one sample may hold."""

    INLINE: ClassVar[bool] = True
    files: kinds.Count = entry(20000, "most files")
    depth: kinds.Count = entry(16, "most folders within folders")


class Watch(Block):
    """How arriving samples are recognised and when they are complete."""

    observer: Literal["auto", "native", "polling"] = entry(
        "auto", "How changes are noticed early: auto, native (the kernel's events) or polling."
    )
    scan_interval: kinds.PositiveDuration = entry(
        "10s", "How often the inbox is read in any case; events only make it earlier."
    )
    settle_time: kinds.Duration = entry("60s", "A sample is taken when nothing in it changed for this long.")
    ready_marker: kinds.NamePattern | None = entry(
        None, "A file name or pattern, e.g. COMPLETE, that replaces the waiting: the sample holds all its files."
    )
    incomplete_timeout: kinds.PositiveDuration = entry(
        "24h", "A sample that is still incomplete this long after its last change fails."
    )
    images: kinds.NamePatterns = entry(
        ["*.dcm"], "Names of images, in upper or lower case; files with DICM at byte 128 are images too."
    )
    ignore: kinds.NamePatterns = entry(
        ["._*", ".DS_Store", "Thumbs.db", "desktop.ini"], "Files that are treated as if they were not there."
    )
    temporary: kinds.NamePatterns = entry(
        [".*", "*.tmp", "*.part", "*.partial", "*.filepart", "~*"],
        "Names of files that are still being written; the sample waits until they are gone.",
    )
    sample_id: kinds.SampleIdPattern = entry(
        "^(?P<sample_id>[A-Za-z0-9][A-Za-z0-9._-]{0,58})$",
        "Which folder names are samples: a regular expression whose group sample_id is the sample ID.",
    )
    mount_marker: kinds.NamePattern | None = entry(
        None, "A file that must exist in the inbox; without it the share counts as gone. null: not checked."
    )
    min_free_space: kinds.Size = entry(
        "5GiB",
        "Free space below which work stops: on the state's file system all of it, on those of work and done the "
        "filing of finished samples. 0B: not looked at.",
    )
    limits: Limits = entry({}, "A sample beyond these fails.")

    def impossible(self) -> Impossible:
        if self.ready_marker is None and self.incomplete_timeout <= self.settle_time:
            yield ("incomplete_timeout",), "must be longer than settle_time, or every sample would fail"
        if self.ready_marker is not None:
            for pattern in self.ignore:
                if fnmatchcase(self.ready_marker.lower(), pattern.lower()):
                    yield ("ready_marker",), f"would never be seen: ignore contains {pattern}"


class Dicom(Block):
    """How images are checked and changed."""

    consistent: kinds.Keywords = entry(
        ["PatientID", "IssuerOfPatientID", "AccessionNumber", "ContainerIdentifier", "BarcodeValue"],
        "Tags that must not have two different values among the images of one sample.",
    )
    record_changes: bool = entry(True, "Record old values in OriginalAttributesSequence.")
    signed: Literal["fail", "strip"] = entry(
        "fail", "Digitally signed images, whose signature a change breaks: fail, or strip the signature."
    )
    non_image: Literal["upload", "carry"] = entry(
        "upload", "DICOM files without pixel data: upload them, or carry them to done unsent."
    )


class Retry(Block):
    """How a step is repeated that failed for a passing reason."""

    first_delay: kinds.PositiveDuration = entry("2s", "The wait after the first try; it doubles from try to try.")
    max_delay: kinds.PositiveDuration = entry("15m", "The longest wait between two tries.")
    max_tries: kinds.Count = entry(20, "Tries of one step; none is counted while an API serves nobody.")
    give_up_after: kinds.PositiveDuration = entry(
        "3d", "Time for one step, without the time in which the sample is held or all is paused."
    )

    def impossible(self) -> Impossible:
        if self.first_delay > self.max_delay:
            yield ("first_delay",), "must not be longer than max_delay"


class Retention(Block):
    """How long what has ended is kept."""

    INLINE: ClassVar[bool] = True
    done: kinds.PositiveDuration | None = entry(None, "folders in done")
    failed: kinds.PositiveDuration | None = entry(None, "folders in failed, cancelled samples among them")
    history: kinds.PositiveDuration | None = entry("365d", "what the state remembers of samples that ended")

    def impossible(self) -> Impossible:
        kept = {"done": self.done, "failed": self.failed}
        for name, age in kept.items():
            if age is not None and self.history is not None and self.history < age:
                yield ("history",), f"must not be shorter than {name}: a folder is only deleted if its sample is known"


class Archive(Block):
    """What is kept of a finished sample."""

    images: Literal["updated", "original", "none"] = entry(
        "updated",
        "Images in done: updated (with the new tags), original (as received) or none (deleted once the "
        "server has them all).",
    )
    retention: Retention = entry(
        {}, "What is deleted, this long after the sample ended. null: never. Attempt numbers are kept for ever."
    )


class Logging(Block):
    """What is logged, and where."""

    INLINE: ClassVar[bool] = True
    level: Literal["debug", "info", "warning", "error"] = entry("info", "debug, info, warning or error")
    format: Literal["auto", "console", "json", "journald"] = entry(
        "auto",
        "console (for people), json, journald (with fields: journalctl SAMPLE=A123), or auto: journald or console",
    )
    file: FullPath | None = entry(
        None, "a file; null: standard error (after `moichord daemon start`: the state's name and .log)"
    )
    rotate: kinds.Size = entry("20MiB", "the size at which the file is rotated; 0B: never")
    keep: kinds.Count = entry(5, "how many rotated files are kept")

    def impossible(self) -> Impossible:
        if self.format == "journald" and self.file is not None:
            yield ("file",), "is not written with format: journald; leave one of the two out"


DEFAULT_TAGS: Mapping[str, object] = {
    "PatientName": '"patient-name"',
    "PatientSpeciesDescription": "request_species",
    "BarcodeValue": "test_type",
    "InstitutionName": '"clinic-name"',
    "PatientID": {"template": "{sample_id}-{attempt_number:03d}"},
}


class PageAndWhereabouts(Whereabouts):
    """What a command needs that makes the page's password file."""

    web: Web = entry({}, "The page.")


class Settings(Whereabouts):
    """All of moichord's configuration."""

    watch: Watch = entry({}, "How arriving samples are recognised, and when they are complete.")
    metadata: Metadata = entry({}, "The API that knows what belongs to a sample ID.")
    tags: kinds.TagRules = entry(
        DEFAULT_TAGS,
        'Which DICOM tags are set: a keyword or "(gggg,eeee)", and a JMESPath into the metadata reply, or '
        "one of {from: JMESPATH}, {template: TEXT}, {value: TEXT}, there with on_mismatch: update (default), fail or "
        "keep for images that have another value, and required: true (default: no value fails the sample) or false.",
    )
    dicom: Dicom = entry({}, "How images are checked and changed.")
    upload: Upload = entry({}, "The image server: one request for each image.")
    analytics: Analytics = entry({}, "The API that is triggered once all images of a sample are stored.")
    retry: Retry = entry({}, "How a step is repeated that failed for a passing reason.")
    archive: Archive = entry({}, "What is kept of a finished sample.")
    workers: kinds.Workers = entry(
        4, "Samples processed at once. A large one does not count while it is only being sent; of these, twice as many."
    )
    drain_timeout: kinds.Duration = entry("60s", "How long requests in flight may still take when stopping.")
    logging: Logging = entry({}, "What is logged, and where.")
    web: Web = entry({}, "The page for people in a browser, and what monitoring asks: /healthz, /readyz.")
    notify: Notify = entry({}, "What people are told without looking.")

    def secrets(self) -> tuple[str, ...]:
        """What must never be written to a log: keys, what else lets somebody in at a server, whom messages go to."""
        apis = (self.metadata, self.upload, self.analytics)
        keys = (api.key.reveal() for api in apis if api.key is not None)
        passwords = (urlsplit(api.proxy).password for api in apis if api.proxy is not None)
        private = (word for api in apis for word in api.private_words())
        return tuple(dict.fromkeys(filter(None, (*keys, *passwords, *private, *self.notify.secrets()))))
