"""Whether the species in words and the species as a code can be the same animal (PS3.3 C.7.1.1, PS3.16 CID 7454).

Owns the few species whose names are known here, and the comparison of (0010,2201) with (0010,2202). Pure. It must not
know what is to be done about a contradiction. What is not known is never called one. Errors: those of `nested` and
`values`.
"""

from typing import NamedTuple

from moichord.dicom import charset
from moichord.dicom.encoding import IMPLICIT_LITTLE, Encoding
from moichord.dicom.nested import Nested
from moichord.dicom.values import SPECIFIC_CHARACTER_SET, Raw, text_of

PATIENT_SPECIES_DESCRIPTION = 0x00102201
PATIENT_SPECIES_CODE_SEQUENCE = 0x00102202
_CODE_VALUE = 0x00080100
_CODING_SCHEME_DESIGNATOR = 0x00080102
_CODE_MEANING = 0x00080104
_SNOMED_CT = "SCT"
_NAMES = {
    "448771007": ("canis lupus familiaris", "canis familiaris", "dog", "canine"),
    "448169003": ("felis catus", "felis silvestris catus", "cat", "feline", "domestic cat"),
    "35354009": ("equus caballus", "equus ferus caballus", "horse", "equine"),
    "34618005": ("bos taurus", "cow", "cattle", "bovine"),
    "78678003": ("sus scrofa", "sus scrofa domesticus", "pig", "swine", "porcine"),
    "125099002": ("ovis aries", "sheep", "ovine"),
    "125097000": ("capra hircus", "goat", "caprine"),
    "36571002": ("oryctolagus cuniculus", "rabbit"),
    "449310008": ("mustela putorius furo", "ferret"),
    "125076001": ("cavia porcellus", "guinea pig"),
    "447612001": ("mus musculus", "mouse", "murine"),
    "371565004": ("rattus norvegicus", "rat"),
    "337915000": ("homo sapiens", "human"),
}
"""The SNOMED CT codes of CID 7454, and what people call these animals. Only names that mean no other animal."""
_CODE_OF = {name: code for code, names in _NAMES.items() for name in names}


class Coded(NamedTuple):
    """One item of PatientSpeciesCodeSequence; "" for what it does not say."""

    value: str
    scheme: str
    meaning: str


def coded_species(found: Raw, encoding: Encoding, terms: tuple[str, ...]) -> Coded | None:
    """The species of the sequence's only item; None if there is none."""
    nested = Nested(PATIENT_SPECIES_CODE_SEQUENCE, IMPLICIT_LITTLE if found.vr == "UN" else encoding)
    items = list(nested.items(memoryview(found.value)))
    if len(items) != 1:
        return None
    values = {one.tag: Raw(one.vr, bytes(one.value)) for one in nested.elements(items[0].value)}
    if SPECIFIC_CHARACTER_SET in values:
        terms = charset.declared(values[SPECIFIC_CHARACTER_SET].value)
    texts = [
        text_of(values[tag], tag, nested.encoding, terms) if tag in values else ""
        for tag in (_CODE_VALUE, _CODING_SCHEME_DESIGNATOR, _CODE_MEANING)
    ]
    return Coded(*texts)


def contradicts(text: str, coded: Coded) -> bool | None:
    """Whether words and code are certainly of two animals; None if that cannot be known."""
    words = _normal(text)
    if words in ("", _normal(coded.meaning)):
        return False
    said = _CODE_OF.get(words)
    by_value = coded.value if coded.scheme == _SNOMED_CT and coded.value in _NAMES else None
    meant = by_value or _CODE_OF.get(_normal(coded.meaning))
    if said is None or meant is None:
        return None
    return said != meant


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
