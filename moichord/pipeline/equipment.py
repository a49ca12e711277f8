"""What the steps work with: the three APIs, the upload pool, the rules of the configuration, a clock.

Owns these bundles only. They are wired once (`wiring`) and shared by all submissions that begin until the next
reload. It must not decide anything. No error leaves it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from moichord.apis.analytics import AnalyticsApi
from moichord.apis.metadata import MetadataApi
from moichord.apis.upload import Uploader
from moichord.clock import Clock
from moichord.pipeline.laying_ahead import LayingAhead
from moichord.pipeline.upload_pool import UploadPool
from moichord.tag_rules import TagRule
from moichord.templates import JsonTemplate, Template

ArchiveImages = Literal["updated", "original", "none"]
"""As what the images of a sample are kept: `archive.images` of the configuration."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a sample's folder holds now. Paths are relative to it.

    `unfinished` names what may still become complete, each with its problem; `unusable` are sentences about what can
    never be processed; `unreadable` says why something could not be read, which is no fault of the sample.
    """

    manifest: str
    images: tuple[str, ...]
    unfinished: tuple[tuple[str, str], ...] = ()
    unusable: tuple[str, ...] = ()
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class TagPolicy:
    """The `tags` and `dicom` blocks of the configuration."""

    rules: tuple[TagRule, ...]
    consistent: tuple[str, ...] = ()
    record_changes: bool = True
    signed: Literal["fail", "strip"] = "fail"
    non_image: Literal["upload", "carry"] = "upload"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a sample is waited for, in seconds."""

    settle_time: float
    incomplete_timeout: float
    unknown_sample_grace: float


class OnSent(Protocol):
    """Told how many bytes of an image have gone out, as they go; None when its request has ended.

    What it raises ends the request, except at the end.
    """

    def __call__(self, submission: str, relative_path: str, sent: int | None) -> None: ...


@dataclass(frozen=True, slots=True)
class CallTemplate:
    """What one API is sent besides its address: templates for the JSON body (None: none), headers and parameters.

    `fields` are those of a form.
    """

    body: JsonTemplate | None
    headers: Mapping[str, Template]
    params: Mapping[str, Template]
    fields: Mapping[str, Template] = field(default_factory=dict)

    def render(self, names: Mapping[str, object]) -> "Call":
        """With every gap filled. Raises ValueMissing, ValueUnsuitable."""
        return Call(
            # The configuration has checked that it is an object.
            None if self.body is None else cast(dict[str, Any], self.body.render(names)),
            {name: template.render(names) for name, template in self.headers.items()},
            {name: template.render(names) for name, template in self.params.items()},
            {name: template.render(names) for name, template in self.fields.items()},
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it is to be made."""

    body: dict[str, Any] | None
    headers: dict[str, str]
    params: dict[str, str]
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Equipment:
    """Everything that the steps use. `analytics` is None when it is switched off.

    `look` reads a sample's folder and walks its images; `listing` is a digest of the files' names and lengths alone,
    but for those whose names have one of the patterns to ignore (`ignored` are those of the configuration).
    """

    metadata: MetadataApi
    uploader: Uploader
    analytics: AnalyticsApi | None
    metadata_call: CallTemplate
    upload_call: CallTemplate
    analytics_call: CallTemplate
    tags: TagPolicy
    patience: Patience
    accept_already_stored: bool
    archive_images: ArchiveImages
    look: Callable[[Path], Contents]
    listing: Callable[[Path, tuple[str, ...]], str]
    ignored: tuple[str, ...]
    pool: UploadPool
    clock: Clock
    on_sent: OnSent
    ahead: LayingAhead | None = None
    """Where large images are laid for the archive while they are being sent."""
