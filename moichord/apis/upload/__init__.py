"""Bringing the images of a sample to the image server, by one of several protocols.

Owns what all protocols share: what is asked of one, and what comes back. It must not know samples, tags or what is
acknowledged where. Errors that leave it: those of `http.Client`, and `ApiRefusal`.

    raw.py           the file is the body
    multipart.py     the file is a part of a form (RFC 7578)
    stow_rs.py       DICOMweb (PS3.18 10.5): the request, and QIDO-RS (10.6) where its outcome is unknown
    stow_answers.py  pure: what the reply to it says of an image
    zip.py           all images of a sample in one request
    zip_archive.py   the archive, made while it is being sent
    acceptance.py    what an answer means where the status decides, and Orthanc's own words
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from moichord.apis.bodies import Body


@dataclass(frozen=True, slots=True)
class Instance:
    """One image on its way. `maybe_stored` says that an earlier request may have stored it already.

    `patient_id` is the PatientID that is sent, if it is known: by it an older copy with the same UID is told apart.
    """

    body: Body
    sop_instance_uid: str
    maybe_stored: bool = False
    patient_id: str | None = None

    @property
    def file_name(self) -> str:
        """For protocols that carry one."""
        return f"{self.sop_instance_uid}.dcm"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one request brings: one image, or all of a sample. `fields` are a form's."""

    instances: Sequence[Instance]
    idempotency_key: str
    accept_already_stored: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def maybe_stored(self) -> bool:
        """Whether an earlier request may have stored all of it."""
        return all(instance.maybe_stored for instance in self.instances)


@dataclass(frozen=True, slots=True)
class Stored:
    """The image is on the server. `reply` is JSON, text cut short, or None; `already_stored` if it was there before."""

    status: int
    reply: Any
    already_stored: bool = False


class Uploader(Protocol):
    """Sends one parcel and says how it went."""

    @property
    def takes_whole_samples(self) -> bool:
        """Whether all images of a sample go into one parcel; otherwise each is a parcel of its own."""
        ...

    def send(self, parcel: Parcel) -> Sequence[Stored]:
        """Send it, once; what became of each instance. Raises ApiOutage, ApiTransient, ApiRefusal or Stopped."""
        ...
