"""The images that the stand-in image server holds, with Orthanc's idea of when two images are the same.

Owns identity (PatientID, Study, Series, SOP), AlreadyStored, and the files kept on request. It must not know HTTP.
`NotDicom` leaves it, for bytes from which no identity can be read.
"""

import hashlib
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

_PATIENT_ID, _STUDY, _SERIES, _SOP = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018

# What pydicom raises for bytes that only look like DICOM.
_UNREADABLE = (
    InvalidDicomError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


class NotDicom(ValueError):
    """The bytes are no DICOM file, or one without the identity that Orthanc needs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one image from another for Orthanc; a changed PatientID makes a new image."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def orthanc_id(self) -> str:
        return _orthanc_id(self.patient_id, self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)

    def reply(self, status: str) -> dict[str, str]:
        """Orthanc's answer to POST /instances; `status` "Success" or "AlreadyStored"."""
        return {
            "ID": self.orthanc_id,
            "ParentPatient": _orthanc_id(self.patient_id),
            "ParentSeries": _orthanc_id(self.patient_id, self.study_instance_uid, self.series_instance_uid),
            "ParentStudy": _orthanc_id(self.patient_id, self.study_instance_uid),
            "Path": f"/instances/{self.orthanc_id}",
            "Status": status,
        }


def _orthanc_id(*parts: str) -> str:
    """Orthanc's public identifier: SHA-1 of the identity joined by "|", in five groups of eight digits."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))


def read_identity(beginning: bytes) -> Identity:
    """The identity in the first bytes of a DICOM file (PS3.10 section 7.1), as far as SeriesInstanceUID.

    Raises:
        NotDicom: there is no preamble, the header is broken or longer than `beginning`, or a UID is missing.
    """

    def past_the_series(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) > _SERIES

    wanted = (_PATIENT_ID, _STUDY, _SERIES, _SOP)
    try:
        header = read_partial(BytesIO(beginning), past_the_series, specific_tags=list(wanted))
        values = [str(header[tag].value or "") if tag in header else "" for tag in wanted]
    except _UNREADABLE as e:
        raise NotDicom(f"cannot parse an invalid DICOM file: {e}") from e
    if not all(values[1:]):
        raise NotDicom("StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID is missing")
    return Identity(*values)


@dataclass(frozen=True, slots=True)
class Instance:
    """One image as it was first stored; `file` if files are kept."""

    identity: Identity
    length: int
    sha256: str
    file: Path | None = None


class Instances:
    """The stored images by Orthanc's identity: the first one stays, whatever comes later under the same."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._stored: dict[str, Instance] = {}

    def store(self, identity: Identity, length: int, sha256: str, arrived: Path | None = None) -> str:
        """Take an image in; `arrived` is its file, which is moved into the folder or removed.

        Returns "Success", or "AlreadyStored" if one of the same identity is held: that one is kept.
        """
        with self._lock:
            if identity.orthanc_id in self._stored:
                if arrived:
                    arrived.unlink()
                return "AlreadyStored"
            file = arrived.replace(arrived.with_name(f"{identity.orthanc_id}.dcm")) if arrived else None
            self._stored[identity.orthanc_id] = Instance(identity, length, sha256, file)
            return "Success"

    def __iter__(self) -> Iterator[Instance]:
        with self._lock:
            return iter(tuple(self._stored.values()))

    def __len__(self) -> int:
        with self._lock:
            return len(self._stored)
