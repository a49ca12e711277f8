"""What is said of each odd arrival: the sentences that a technician reads in moichord-FAILED.txt, word by word.

Owns the tables. A changed sentence is changed here as well: read it as somebody who knows scanners and folders, but
not DICOM. What is wrong comes first, the details for the scanner's maker stand in parentheses.
"""

from collections.abc import Callable
from pathlib import Path

from tests.integration import arrivals

Maker = Callable[[Path], None]

DROP_AGAIN = "When the folder is complete and correct, drop it into the inbox again."
EXPORT_AGAIN = "Export the sample again; if it comes out the same, show this message to the scanner's maker."
SORT = "Sort the images by sample on the scanner's side, then drop each sample in its own folder."
NOT_DICOM = (
    "not a DICOM Part 10 file: DICM is not there (at byte 128): take it out of the folder, or export the image again."
)
SHOW = ": export it again, and show this to the scanner's maker if it comes out the same."
MIXED = ": the images of two patients or specimens may have got into one folder."
UNREADABLE = (
    "odd.dcm: PatientName of the image cannot be compared or replaced: its bytes are not text of the declared "
    "character set, "
)

NEVER: list[tuple[Maker, str]] = [
    (
        arrivals.link_to_a_file,
        "odd.dcm: a symbolic link, which is never followed: put the file itself into the folder.",
    ),
    (arrivals.link_to_a_folder, "more: a symbolic link, which is never followed: put the file itself into the folder."),
    (
        arrivals.link_to_nothing,
        "gone.txt: a symbolic link, which is never followed: put the file itself into the folder.",
    ),
    (arrivals.pipe, "odd.dcm: a named pipe (FIFO), which is never opened: take it out of the folder."),
    (arrivals.socket, "odd.dcm: a socket, which is never opened: take it out of the folder."),
    (arrivals.device, "odd.dcm: a device, which is never opened: take it out of the folder."),
    (
        arrivals.hard_link,
        "notes-again.txt: a hard link (the file has a second name elsewhere): put a copy of its own into the folder; "
        "notes.txt: a hard link (the file has a second name elsewhere): put a copy of its own into the folder.",
    ),
    (arrivals.text_called_dcm, f"odd.dcm: {NOT_DICOM}"),
    (arrivals.pdf_called_dcm, f"odd.dcm: {NOT_DICOM}"),
    (arrivals.image_without_preamble, f"odd.dcm: {NOT_DICOM}"),
    (
        arrivals.length_beyond_all_bounds,
        "odd.dcm: the header is longer than is accepted (element (0011,0010), at byte 308, 4294967600 bytes, and no "
        f"more than 67108864 are accepted){SHOW}",
    ),
    (
        arrivals.deep_nesting,
        f"odd.dcm: sequences are nested deeper than 32 (element (0011,0010), at byte 960){SHOW}",
    ),
    (arrivals.masses_of_elements, f"odd.dcm: more than 50000 elements (element (0013,5E1D), at byte 400284){SHOW}"),
    (
        arrivals.deflate_bomb,
        "odd.dcm: deflated data sets are not accepted, another transfer syntax is needed than "
        f"1.2.840.10008.1.2.1.99 (element (0002,0010), at byte 206){SHOW}",
    ),
    (
        arrivals.duplicate_element,
        f"odd.dcm: this element is there twice, or not in ascending order (element (0011,0010), at byte 320){SHOW}",
    ),
    (
        arrivals.elements_out_of_order,
        f"odd.dcm: this element is there twice, or not in ascending order (element (0011,0010), at byte 320){SHOW}",
    ),
    (
        arrivals.implicit_said_to_be_explicit,
        f"odd.dcm: the transfer syntax says explicit VR, but there is no VR (element (0008,0016), at byte 250){SHOW}",
    ),
    (
        arrivals.explicit_said_to_be_implicit,
        f"odd.dcm: the transfer syntax says implicit VR, but there is a VR (element (0008,0016), at byte 248){SHOW}",
    ),
    (
        arrivals.big_endian_said_to_be_little,
        f"odd.dcm: the byte order is not that of the transfer syntax (element (0800,1600), at byte 250){SHOW}",
    ),
    (
        arrivals.little_endian_said_to_be_big,
        f"odd.dcm: the byte order is not that of the transfer syntax (element (0800,1600), at byte 250){SHOW}",
    ),
    (
        arrivals.fewer_pixels_than_said,
        "odd.dcm: the pixel data are shorter than the header says (element (7FE0,0010), at byte 376, 256 bytes "
        f"needed, 240 there){SHOW}",
    ),
    (arrivals.text_called_by_a_hostile_name, rf"\x1b[2J\x1b[31mwiped\ncaf\xe9.dcm: {NOT_DICOM}"),
    (
        arrivals.link_called_by_a_hostile_name,
        r"first\n2026-01-01 all samples are done.dcm: a symbolic link, which is never followed: put the file itself "
        "into the folder.",
    ),
]

UNFINISHED: list[tuple[Maker, str]] = [
    (arrivals.named_tmp, "image-1.dcm.tmp is incomplete: its name is that of a file still being written"),
    (arrivals.named_part, "scan.part/image-1.dcm is incomplete: its name is that of a file still being written"),
    (arrivals.empty_file, "odd.dcm is incomplete: the file is empty (at byte 0, 132 bytes needed, 0 there)"),
    (arrivals.zeros_where_dicm_should_be, "odd.dcm is incomplete: zeros where DICM should be (at byte 128)"),
    (
        arrivals.cut_in_preamble,
        "odd.dcm is incomplete: the file ends before its header (at byte 0, 132 bytes needed, 100 there)",
    ),
    (
        arrivals.cut_in_meta,
        "odd.dcm is incomplete: the file ends inside its meta information (element (0002,0003), at byte 192, 6 bytes "
        "needed, 0 there)",
    ),
    (
        arrivals.cut_in_header,
        "odd.dcm is incomplete: the file ends inside an element (element (0020,000D), at byte 308, 6 bytes needed, "
        "4 there)",
    ),
    (
        arrivals.cut_before_pixels,
        "odd.dcm is incomplete: the file is that of an image, and ends before its pixel data (element (7FE0,0010), at "
        "byte 376)",
    ),
    (
        arrivals.cut_in_pixels,
        "odd.dcm is incomplete: the file ends inside an element (element (7FE0,0010), at byte 376, 256 bytes needed, "
        "200 there)",
    ),
    (
        arrivals.cut_in_fragment,
        "odd.dcm is incomplete: the file ends inside a pixel data fragment (element (7FE0,0010), at byte 396, 320 "
        "bytes needed, 220 there)",
    ),
    (
        arrivals.cut_before_end_of_fragments,
        "odd.dcm is incomplete: the file ends inside pixel data fragments (element (7FE0,0010), at byte 724, 8 bytes "
        "needed, 0 there)",
    ),
    (
        arrivals.length_past_the_end,
        "odd.dcm is incomplete: the file ends inside an element (element (0011,0010), at byte 308, 1000000 bytes "
        "needed, 340 there)",
    ),
]

CONTRADICTIONS: list[tuple[Maker, str, str]] = [
    (
        arrivals.same_identity_other_bytes,
        "odd.dcm and twin.dcm have the same SOP Instance UID ('2.25.8') but different contents.",
        "Export the sample again: the scanner's export is wrong, or two exports were mixed.",
    ),
    (arrivals.two_patients, f"PatientID is 'P1' in image-0.dcm, but 'P2' in odd.dcm{MIXED}", SORT),
    (arrivals.two_accession_numbers, f"AccessionNumber is 'A-1' in odd.dcm, but 'A-2' in twin.dcm{MIXED}", SORT),
    (
        arrivals.two_names_for_itself,
        "odd.dcm: SOPInstanceUID is '2.25.3', but the file meta information says '2.25.4'.",
        EXPORT_AGAIN,
    ),
    (
        arrivals.undeclared_text_in_a_tag_that_changes,
        f"{UNREADABLE}the default repertoire (element (0010,0010)).",
        EXPORT_AGAIN,
    ),
    (arrivals.unknown_set_in_a_tag_that_changes, f"{UNREADABLE}ISO_IR 999 (element (0010,0010)).", EXPORT_AGAIN),
]

# Sample ID, field of the metadata record, the value that is wrong, what is said of it, and where it comes from.
RECORDS: list[tuple[str, str, str, str, str]] = [
    (
        "long-name",
        "patient-name",
        "B" * 65,
        'image-0.dcm: PatientName: the value from metadata field "patient-name" has 65 characters, and a person\'s '
        "name takes 64 at most (element (0010,0010)).",
        'metadata field "patient-name"',
    ),
    (
        "long-species",
        "request_species",
        "D" * 65,
        "image-0.dcm: PatientSpeciesDescription: the value from metadata field request_species has 65 characters, "
        "and VR LO takes 64 at most (element (0010,2201)).",
        "metadata field request_species",
    ),
    (
        "backslash",
        "clinic-name",
        "Harbour\\Street",
        'image-0.dcm: InstitutionName: the value from metadata field "clinic-name" holds a backslash, which would '
        "make two values of it (element (0008,0080)).",
        'metadata field "clinic-name"',
    ),
    (
        "line-end",
        "clinic-name",
        "Harbour\nStreet",
        'image-0.dcm: InstitutionName: the value from metadata field "clinic-name" holds a control character (U+000A) '
        "(element (0008,0080)).",
        'metadata field "clinic-name"',
    ),
    (
        "escape",
        "patient-name",
        "Bis\x1b[2Jcuit",
        'image-0.dcm: PatientName: the value from metadata field "patient-name" holds a control character (U+001B) '
        "(element (0010,0010)).",
        'metadata field "patient-name"',
    ),
]

FINE: list[Maker] = [
    arrivals.litter,
    arrivals.other_documents,
    arrivals.dicomdir,
    arrivals.directory_called_dcm,
    arrivals.same_bytes_twice,
    arrivals.undeclared_text_elsewhere,
    arrivals.tiff_as_well,
    arrivals.zeros_after_the_end,
    arrivals.images_with_hostile_names,
]
