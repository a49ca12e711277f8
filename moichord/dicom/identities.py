"""Whose image it is, and which.

Owns the reading of identifying values (of the patient, the specimens, the object), the comparison within one file
(PS3.10 7.1, PS3.3 C.12.1, C.7.1.1) and between the files of one sample. It must not know samples, nor decide what a
contradiction leads to. Errors: those of `values`, with the keyword of what could not be read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from moichord.dicom import charset
from moichord.dicom.dictionary import Attribute
from moichord.dicom.encoding import IMPLICIT_LITTLE
from moichord.dicom.errors import DicomError, Unfit
from moichord.dicom.nested import Nested, Piece
from moichord.dicom.part10 import Part10
from moichord.dicom.reading import PositionedFile
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, character_set, raw, text_of, value

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
SPECIMEN_IDENTIFIER = "SpecimenIdentifier"
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_PATIENT_ID = 0x00100020
_PATIENT_IDENTITY_REMOVED = 0x00120062
_IMAGE_TYPE = 0x00080008
_BURNED_IN_ANNOTATION = 0x00280301
_SPECIMEN_LABEL_IN_IMAGE = 0x00480010
_SPECIMEN_DESCRIPTION_SEQUENCE = 0x00400560
_SPECIMEN_IDENTIFIER = 0x00400551
_SPECIMENS_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """What one file says of itself; "" where it says nothing. `values` by keyword, several joined by backslashes.

    SpecimenIdentifier is always among the `values`: those of all specimens in the container (PS3.3 C.7.6.22).
    `problems` are the reasons for which it must not be sent, one sentence each. They hold UIDs, in quotes, but no
    patient data. `notes` are worth knowing.
    """

    sop_class_uid: str
    sop_instance_uid: str
    patient_id: str
    is_dicomdir: bool
    has_pixel_data: bool
    patient_identity_removed: bool
    values: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two files of one sample with different values of one attribute. `str` holds both values."""

    keyword: str
    first: str
    first_value: str
    other: str
    other_value: str

    def __str__(self) -> str:
        return (
            f"{self.keyword} is {self.first_value!r} in {self.first}, but {self.other_value!r} in {self.other}: "
            "the images of two patients or specimens may have got into one folder"
        )


def identity(file: PositionedFile, part10: Part10, attributes: Sequence[Attribute] = ()) -> Identity:
    """Read who and what an image is, with the values of `attributes` besides."""
    sop_class_uid = _text(file, part10, _SOP_CLASS_UID, "SOPClassUID")
    sop_instance_uid = _text(file, part10, _SOP_INSTANCE_UID, "SOPInstanceUID")
    media_class = _text(file, part10, _MEDIA_STORAGE_SOP_CLASS_UID, "MediaStorageSOPClassUID")
    media_instance = _text(file, part10, _MEDIA_STORAGE_SOP_INSTANCE_UID, "MediaStorageSOPInstanceUID")
    is_dicomdir = media_class == MEDIA_STORAGE_DIRECTORY
    removed = _text(file, part10, _PATIENT_IDENTITY_REMOVED, "PatientIdentityRemoved") == "YES"
    problems = []
    if not is_dicomdir:
        problems += _uid_problems("SOPClassUID", sop_class_uid, media_class)
        problems += _uid_problems("SOPInstanceUID", sop_instance_uid, media_instance)
    if removed:
        problems.append("PatientIdentityRemoved is YES: the image was de-identified on purpose")
    return Identity(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        patient_id=_text(file, part10, _PATIENT_ID, "PatientID"),
        is_dicomdir=is_dicomdir,
        has_pixel_data=part10.has_pixel_data,
        patient_identity_removed=removed,
        values={a.keyword: _text(file, part10, a.tag, a.keyword) for a in attributes}
        | {SPECIMEN_IDENTIFIER: "\\".join(_specimens(file, part10))},
        problems=tuple(problems),
        notes=tuple(_visible_identity(file, part10)),
    )


def disagreements(files: Iterable[tuple[str, Mapping[str, str]]], keywords: Sequence[str]) -> list[Disagreement]:
    """The first contradiction for each keyword between (name, values by keyword) of one sample's images.

    A container may hold several specimens, so two lists of them contradict each other only if they share none.
    """
    seen: dict[str, tuple[str, str]] = {}
    found: dict[str, Disagreement] = {}
    for name, values in files:
        for keyword in keywords:
            text = values.get(keyword, "")
            if not text:
                continue
            first, first_value = seen.setdefault(keyword, (name, text))
            if keyword not in found and _differ(keyword, first_value, text):
                found[keyword] = Disagreement(keyword, first, first_value, name, text)
    return list(found.values())


def _differ(keyword: str, first: str, other: str) -> bool:
    if keyword == SPECIMEN_IDENTIFIER:
        return set(first.split("\\")).isdisjoint(other.split("\\"))
    return first != other


def _visible_identity(file: PositionedFile, part10: Part10) -> list[str]:
    """Why somebody's name may be seen in the pixels (PS3.3 C.8.12.4.1.1, C.7.6.1.1.5). They are never touched."""
    flavour = "".join(_text(file, part10, _IMAGE_TYPE, "ImageType").split("\\")[2:3])
    if flavour in ("LABEL", "OVERVIEW"):
        what = f"this is the {flavour} image of a slide"
    elif _text(file, part10, _SPECIMEN_LABEL_IN_IMAGE, "SpecimenLabelInImage") == "YES":
        what = "the label of the slide is in this image"
    elif _text(file, part10, _BURNED_IN_ANNOTATION, "BurnedInAnnotation") == "YES":
        what = "this image has annotations burned in"
    else:
        return []
    return [f"{what}: the identity of the patient may be visible in its pixels, which are never changed"]


def _specimens(file: PositionedFile, part10: Part10) -> list[str]:
    """The identifiers of the specimens in the container, sorted (PS3.3 C.7.6.22)."""
    try:
        found = raw(file, part10, _SPECIMEN_DESCRIPTION_SEQUENCE, _SPECIMENS_LIMIT)
        if found is None:
            return []
        encoding = IMPLICIT_LITTLE if found.vr == "UN" else part10.encoding
        nested = Nested(_SPECIMEN_DESCRIPTION_SEQUENCE, encoding)
        terms = character_set(file, part10)
        items = nested.items(memoryview(found.value))
        return sorted({name for item in items if (name := _specimen(item, nested, terms))})
    except DicomError as error:
        problem = f"the specimens of the image cannot be read: {error.problem}"
        raise Unfit(problem, keyword="SpecimenDescriptionSequence", tag=_SPECIMEN_DESCRIPTION_SEQUENCE) from error


def _specimen(item: Piece, nested: Nested, terms: tuple[str, ...]) -> str:
    values = {one.tag: Raw(one.vr, bytes(one.value)) for one in nested.elements(item.value)}
    if SPECIFIC_CHARACTER_SET in values:
        terms = charset.declared(values[SPECIFIC_CHARACTER_SET].value)
    found = values.get(_SPECIMEN_IDENTIFIER)
    return "" if found is None else text_of(found, _SPECIMEN_IDENTIFIER, nested.encoding, terms)


def _uid_problems(keyword: str, uid: str, media_uid: str) -> list[str]:
    if not uid:
        return [f"{keyword} is missing"]
    if uid != media_uid:
        said = repr(media_uid) if media_uid else "nothing"
        return [f"{keyword} is {uid!r}, but the file meta information says {said}"]
    return []


def _text(file: PositionedFile, part10: Part10, tag: int, keyword: str) -> str:
    try:
        found = value(file, part10, tag)
    except DicomError as error:
        raise Unfit(f"{keyword} cannot be read: {error.problem}", keyword=keyword, tag=tag) from error
    return "\\".join(found) if isinstance(found, list) else found or ""
