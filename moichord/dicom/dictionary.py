"""The data dictionary (PS3.6): what a person calls an attribute, and whether it may be set from outside.

Owns names and permissions. It must not know files. Errors: `ValueError`, worded for the line of a configuration.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from moichord.dicom.encoding import LAST_EDITABLE, TEXT_VRS

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),\s?([0-9A-Fa-f]{4})\)?")
_SETTABLE_VRS = TEXT_VRS | frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "SV", "TM", "UI", "UL", "UR", "US", "UV"]
)
_IDENTITY_UIDS = frozenset(
    [
        0x00080016,  # SOPClassUID
        0x00080018,  # SOPInstanceUID
        0x0020000D,  # StudyInstanceUID
        0x0020000E,  # SeriesInstanceUID
        0x00200052,  # FrameOfReferenceUID
        0x00200200,  # SynchronizationFrameOfReferenceUID
        0x00400554,  # SpecimenUID
    ]
)
_PIXEL_DESCRIPTION = frozenset(
    [
        0x00280002,  # SamplesPerPixel
        0x00280004,  # PhotometricInterpretation
        0x00280006,  # PlanarConfiguration
        0x00280008,  # NumberOfFrames
        0x00280010,  # Rows
        0x00280011,  # Columns
        0x00280100,  # BitsAllocated
        0x00280101,  # BitsStored
        0x00280102,  # HighBit
        0x00280103,  # PixelRepresentation
    ]
)
_OWN_RECORD = frozenset([0x00080005, 0x00080015])
_KEPT = 1024  # answers: the same few attributes are asked for in every image


@dataclass(frozen=True, slots=True)
class Attribute:
    """One entry of the dictionary: `vr` as PS3.5 6.2, `vm` as the dictionary spells it ("1", "1-n")."""

    tag: int
    keyword: str
    vr: str
    vm: str


def lookup(name: str) -> Attribute:
    """The attribute of a keyword or a "(gggg,eeee)", if it may be set to a text.

    Raises `ValueError` for what the dictionary does not hold (with the nearest keywords), and for private, nested,
    binary and structural attributes and the UIDs that identify an object: these never change.
    """
    attribute = find(name)
    _require_settable(attribute)
    return attribute


@lru_cache(_KEPT)
def find(name: str) -> Attribute:
    """The attribute of a keyword or a "(gggg,eeee)", whether or not it may be set. Raises `ValueError`."""
    from pydicom.datadict import tag_for_keyword

    if match := _TAG.fullmatch(name.strip()):
        return _entry(int(match[1] + match[2], 16), name)
    tag = tag_for_keyword(name)
    if tag is None:
        raise ValueError(_unknown(name))
    return _entry(tag, name)


@lru_cache(_KEPT)
def vr_of(tag: int) -> str:
    """The VR that the dictionary gives a tag; UN for private and unknown ones, the first where several may be."""
    from pydicom.datadict import dictionary_VR

    if tag & 0xFFFF == 0:
        return "UL"
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "UN"


def is_image_storage(sop_class_uid: str) -> bool:
    """Whether a SOP class is one of images, which cannot be without pixel data (PS3.4 B.5)."""
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    return "Image Storage" in UID(sop_class_uid, validation_mode=IGNORE).name


def _entry(tag: int, name: str) -> Attribute:
    from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

    if tag >> 16 & 1:
        raise ValueError(f"{name} is a private element; only attributes of the standard can be named")
    try:
        return Attribute(tag, keyword_for_tag(tag), dictionary_VR(tag), dictionary_VM(tag))
    except KeyError:
        raise ValueError(f"{name} is not in the DICOM dictionary") from None


def _require_settable(attribute: Attribute) -> None:
    tag, keyword = attribute.tag, attribute.keyword
    if tag >> 16 <= 0x0002:
        raise ValueError(f"{keyword} is file meta information; it follows from the file and cannot be set")
    if tag > LAST_EDITABLE:
        raise ValueError(f"{keyword} lies behind group 2FFF; only attributes before that can be set")
    if tag in _IDENTITY_UIDS:
        raise ValueError(f"{keyword} identifies the object and must never change")
    if tag in _PIXEL_DESCRIPTION:
        raise ValueError(f"{keyword} says how the pixels are stored and must never change")
    if tag in _OWN_RECORD:
        raise ValueError(f"{keyword} follows from the other changes and cannot be set")
    if attribute.vr == "SQ":
        raise ValueError(f"{keyword} is a sequence; only attributes with a text value can be set")
    if attribute.vr not in _SETTABLE_VRS:
        raise ValueError(f"{keyword} is of VR {attribute.vr}; only attributes with a text value can be set")
    if not attribute.vm.startswith("1"):
        raise ValueError(f"{keyword} needs {attribute.vm} values; only attributes that may have one value can be set")


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    from pydicom.datadict import keyword_dict

    if re.search(r"[.\[\]/]", name):
        return f"{name} is a path into a sequence; only top-level attributes can be named"
    near = get_close_matches(name, keyword_dict, n=3, cutoff=0.75)
    advice = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{name} is not a keyword of the DICOM dictionary{advice}"
