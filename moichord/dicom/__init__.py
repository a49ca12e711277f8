"""Read, check and re-tag DICOM Part 10 files without touching what nobody asked to change.

    with open(path, "rb") as opened:
        file = PositionedFile(opened)
        image, coercion, part10 = tagged(file, [Wanted(lookup("PatientID"), "S1-001")], provenance)
        image.write_to(out)

Knows files, not samples: nothing else of moichord is imported here, so that it can be lifted out as a library.
Errors: `DicomError` and `OSError`, no others.

    reading      positioned reads, a bounded window       encoding     VRs, element headers, transfer syntaxes
    walker       from element to element                  part10       walk a file
    completeness is it whole?                             values       read single values
    nested       what a sequence holds                    identities   whose image is it?
    charset      bytes and text                           code_extensions   several sets in one text (ISO 2022)
    dictionary   keywords, and what may be set            validation   may this value be written?
    wanted       the words of coercion                    present      what coercion needs to know
    coercion     wanted and present -> edits              species      do words and code mean one animal?
    switching    which set, and what that means           recoding     the same text in UTF-8
    original_attributes   the record of a change          splice       new header ++ untouched tail
    streaming    an image on its way out                  digesting    the digest of what is sent
"""

from collections.abc import Sequence

from moichord.dicom.coercion import coerce
from moichord.dicom.completeness import check_tail, inspect
from moichord.dicom.dictionary import Attribute, lookup
from moichord.dicom.encoding import Edit, Element
from moichord.dicom.errors import Changed, DicomError, Incomplete, Malformed, NotDicom, Unfit
from moichord.dicom.identities import Disagreement, Identity, disagreements, identity
from moichord.dicom.original_attributes import ORIGINAL_ATTRIBUTES_SEQUENCE
from moichord.dicom.part10 import Part10, walk
from moichord.dicom.present import read_present
from moichord.dicom.reading import PositionedFile
from moichord.dicom.splice import TaggedImage
from moichord.dicom.streaming import AtHand, ImageStream, Streamed
from moichord.dicom.values import value
from moichord.dicom.walker import Budget
from moichord.dicom.wanted import Change, Coercion, OnMismatch, OtherText, Present, Provenance, Signed, Wanted

__all__ = [
    "AtHand",
    "Attribute",
    "Budget",
    "Change",
    "Changed",
    "Coercion",
    "DicomError",
    "Disagreement",
    "Edit",
    "Element",
    "Identity",
    "ImageStream",
    "Incomplete",
    "Malformed",
    "NotDicom",
    "OnMismatch",
    "OtherText",
    "Part10",
    "PositionedFile",
    "Present",
    "Provenance",
    "Signed",
    "Streamed",
    "TaggedImage",
    "Unfit",
    "Wanted",
    "check_tail",
    "coerce",
    "disagreements",
    "identity",
    "inspect",
    "lookup",
    "read_present",
    "tagged",
    "value",
    "walk",
]


def tagged(
    file: PositionedFile,
    wanted: Sequence[Wanted],
    provenance: Provenance,
    *,
    record_changes: bool = True,
    signed: str = Signed.FAIL,
    part10: Part10 | None = None,
) -> tuple[TaggedImage, Coercion, Part10]:
    """One image with the wanted tags: walk it to its end, decide, splice.

    Whether or not anything changes, its header reaches behind all that coercion may touch: images of other tags have
    another `header_digest`. `part10` spares the walk if the caller has inspected this very file already. Raises what
    `inspect` and `coerce` do.
    """
    part10 = part10 if part10 is not None and part10.tail is not None else inspect(file)
    record = provenance.modifying_system + provenance.source_of_previous_values if record_changes else ""
    present = read_present(file, part10, wanted, record)
    coercion = coerce(present, wanted, provenance, record_changes=record_changes, signed=signed)
    through = max([ORIGINAL_ATTRIBUTES_SEQUENCE, *(one.attribute.tag for one in wanted)])
    return TaggedImage(file, part10, coercion.edits, through=through), coercion, part10
