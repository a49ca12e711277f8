"""What arrives in the inbox beside good images: one maker for each kind of odd, broken or hostile file.

Owns the making. A maker gets the sample's folder, in which `image-0.dcm` and `notes.txt` are good, and adds what is
wrong. Whole files are made by hand where a message names a byte, so that the byte is known here. It must not know
what becomes of a sample.
"""

import os
import shutil
import stat
import struct
import zlib
from pathlib import Path

from pydicom.data import get_testdata_file

from tests.builders import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    RLE,
    SECONDARY_CAPTURE,
    UNDEFINED,
    element,
    image_bytes,
    item,
    padded,
    part10_bytes,
    sequence_end,
    write_image,
)

ODD = "odd.dcm"
TWIN = "twin.dcm"
ESCAPE = "\x1b[2J\x1b[31mwiped"
TWO_LINES = "first\n2026-01-01 all samples are done"
NOT_UTF8 = os.fsdecode(b"caf\xe9")
PIXELS = 16 * 16

# An image by hand


def image_by_hand(
    *private: bytes, pixels: bytes = bytes(PIXELS), syntax: str = EXPLICIT, pixel_length: int | None = None
) -> bytes:
    """A 16 x 16 image; the `private` elements stand between its groups 0010 and 0020."""
    return part10_bytes(_dataset(private, pixels, pixel_length), transfer_syntax=syntax)


def _dataset(
    private: tuple[bytes, ...] = (), pixels: bytes = bytes(PIXELS), pixel_length: int | None = None, **how: bool
) -> bytes:
    order = ">H" if how.get("big_endian") else "<H"
    described = ((0x00280002, 1), (0x00280010, 16), (0x00280011, 16), (0x00280100, 8))
    return b"".join(
        (
            element(0x00080016, "UI", padded(SECONDARY_CAPTURE), **how),
            element(0x00080018, "UI", padded("2.25.3"), **how),
            element(0x00100020, "LO", b"P1", **how),
            *private,
            element(0x0020000D, "UI", padded("2.25.1"), **how),
            element(0x0020000E, "UI", padded("2.25.2"), **how),
            *(element(tag, "US", struct.pack(order, number), **how) for tag, number in described),
            element(0x7FE00010, "OB", pixels, length=pixel_length, **how),
        )
    )


def odd(folder: Path, content: bytes) -> None:
    (folder / ODD).write_bytes(content)


def real_file(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None, f"pydicom does not bring {name}"
    return Path(path)


# What is no plain file


def link_to_a_file(folder: Path) -> None:
    (folder / ODD).symlink_to("/etc/passwd")


def link_to_a_folder(folder: Path) -> None:
    (folder / "more").symlink_to("/etc")


def link_to_nothing(folder: Path) -> None:
    (folder / "gone.txt").symlink_to("nowhere")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / ODD)


def socket(folder: Path) -> None:
    os.mknod(folder / ODD, stat.S_IFSOCK | 0o600)


def device(folder: Path) -> None:
    # /dev/null takes a privileged user; the device 0:0 is what anybody may make.
    number = os.makedev(1, 3) if os.geteuid() == 0 else os.makedev(0, 0)
    os.mknod(folder / ODD, stat.S_IFCHR | 0o600, number)


def hard_link(folder: Path) -> None:
    (folder / "notes-again.txt").hardlink_to(folder / "notes.txt")


# What is not DICOM


def text_called_dcm(folder: Path) -> None:
    odd(folder, b"Slide 4 was repeated. " * 20)


def image_without_preamble(folder: Path) -> None:
    odd(folder, image_by_hand()[128:])


def pdf_called_dcm(folder: Path) -> None:
    odd(folder, b"%PDF-1.7\n" + b"1 0 obj\n" * 40)


# What is still on its way, or will never come


def named_tmp(folder: Path) -> None:
    write_image(folder / "image-1.dcm.tmp")


def named_part(folder: Path) -> None:
    (folder / "scan.part").mkdir()
    write_image(folder / "scan.part" / "image-1.dcm")


def empty_file(folder: Path) -> None:
    odd(folder, b"")


def zeros_where_dicm_should_be(folder: Path) -> None:
    odd(folder, bytes(4096))


def cut_in_preamble(folder: Path) -> None:
    odd(folder, image_by_hand()[:100])


def cut_in_meta(folder: Path) -> None:
    odd(folder, image_by_hand()[:200])


def cut_in_header(folder: Path) -> None:
    odd(folder, image_by_hand()[:320])


def cut_before_pixels(folder: Path) -> None:
    odd(folder, image_by_hand()[: -(PIXELS + 12)])


def cut_in_pixels(folder: Path) -> None:
    odd(folder, image_by_hand()[:-56])


def cut_in_fragment(folder: Path) -> None:
    fragments = item() + item(bytes(64 + PIXELS)) + sequence_end()
    odd(folder, image_by_hand(pixels=fragments, pixel_length=UNDEFINED, syntax=RLE)[:-108])


def cut_before_end_of_fragments(folder: Path) -> None:
    odd(folder, image_by_hand(pixels=item() + item(bytes(64 + PIXELS)), pixel_length=UNDEFINED, syntax=RLE))


def length_past_the_end(folder: Path) -> None:
    odd(folder, image_by_hand(element(0x00110010, "UN", b"four", length=1_000_000)))


# What can never be read


def length_beyond_all_bounds(folder: Path) -> None:
    odd(folder, image_by_hand(element(0x00110010, "UN", b"four", length=0xFFFFFFF0)))


def deep_nesting(folder: Path) -> None:
    sequence = element(0x00110010, "SQ", b"", length=UNDEFINED)
    opened = sequence + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + sequence_end()
    odd(folder, image_by_hand(opened * 5000 + closed * 5000))


def masses_of_elements(folder: Path) -> None:
    elements = (element(group << 16 | 0x1000 + n, "LO", b"") for group in (0x11, 0x13) for n in range(30_000))
    odd(folder, image_by_hand(*elements))


def deflate_bomb(folder: Path) -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(_dataset(pixels=bytes(64 * 1024 * 1024))) + deflate.flush()
    odd(folder, part10_bytes(bomb, transfer_syntax=DEFLATED))


def duplicate_element(folder: Path) -> None:
    odd(folder, image_by_hand(element(0x00110010, "LO", b"ONCE"), element(0x00110010, "LO", b"MORE")))


def elements_out_of_order(folder: Path) -> None:
    odd(folder, image_by_hand(element(0x00130010, "LO", b"LATE"), element(0x00110010, "LO", b"SOON")))


def implicit_said_to_be_explicit(folder: Path) -> None:
    odd(folder, part10_bytes(_dataset(implicit=True), transfer_syntax=EXPLICIT))


def explicit_said_to_be_implicit(folder: Path) -> None:
    odd(folder, part10_bytes(_dataset(), transfer_syntax=IMPLICIT))


def big_endian_said_to_be_little(folder: Path) -> None:
    odd(folder, part10_bytes(_dataset(big_endian=True), transfer_syntax=EXPLICIT))


def little_endian_said_to_be_big(folder: Path) -> None:
    odd(folder, part10_bytes(_dataset(), transfer_syntax=BIG_ENDIAN))


def fewer_pixels_than_said(folder: Path) -> None:
    odd(folder, image_by_hand(pixels=bytes(PIXELS - 16)))


# What contradicts the rest


def same_identity_other_bytes(folder: Path) -> None:
    write_image(folder / ODD, sop_instance_uid="2.25.8")
    write_image(folder / TWIN, sop_instance_uid="2.25.8", rows=20)


def same_bytes_twice(folder: Path) -> None:
    shutil.copyfile(folder / "image-0.dcm", folder / TWIN)


def two_patients(folder: Path) -> None:
    write_image(folder / ODD, patient_id="P2")


def two_accession_numbers(folder: Path) -> None:
    write_image(folder / ODD, AccessionNumber="A-1")
    write_image(folder / TWIN, AccessionNumber="A-2")


def two_names_for_itself(folder: Path) -> None:
    odd(folder, image_by_hand().replace(b"2.25.3", b"2.25.4", 1))


# Text in a character set that was not declared, or that nobody knows


def undeclared_text_in_a_tag_that_changes(folder: Path) -> None:
    odd(folder, _renamed("Hund^Mxller", b"Hund^M\xfcller"))


def unknown_set_in_a_tag_that_changes(folder: Path) -> None:
    content = _renamed("Hund^Mxller", b"Hund^M\xfcller", SpecificCharacterSet="ISO_IR 100")
    odd(folder, content.replace(b"ISO_IR 100", b"ISO_IR 999"))


def undeclared_text_elsewhere(folder: Path) -> None:
    content = write_image(folder / ODD, StudyDescription="Blut, gefxrbt").read_bytes()
    odd(folder, content.replace(b"gefxrbt", b"gef\xe4rbt"))


def _renamed(name: str, other: bytes, **attributes: str) -> bytes:
    return image_bytes(PatientName=name, **attributes).replace(name.encode(), other)


# What lies beside images and does no harm


def litter(folder: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._image-0.dcm"):
        (folder / name).write_bytes(b"litter")


def other_documents(folder: Path) -> None:
    (folder / "sub").mkdir()
    jpeg, pdf = b"\xff\xd8\xff\xe0" + bytes(200), b"%PDF-1.7\n" + bytes(200)
    beside = {"slide.xml": b"<slide/>", "list.csv": b"1;2\n", "sub/label.jpg": jpeg, "report.pdf": pdf}
    for name, content in beside.items():
        (folder / name).write_bytes(content)


def dicomdir(folder: Path) -> None:
    shutil.copyfile(real_file("DICOMDIR"), folder / "DICOMDIR")


def directory_called_dcm(folder: Path) -> None:
    shutil.copyfile(real_file("DICOMDIR"), folder / "index.dcm")


def tiff_as_well(folder: Path) -> None:
    odd(folder, b"II*\0" + bytes(range(4, 128)) + image_by_hand(pixels=bytes(range(256)))[128:])


def zeros_after_the_end(folder: Path) -> None:
    odd(folder, image_by_hand() + bytes(100))


def images_with_hostile_names(folder: Path) -> None:
    for name in (ESCAPE, TWO_LINES, NOT_UTF8, '"><script>alert(1)<', "%s%n{0}"):
        write_image(folder / f"{name}.dcm")
    (folder / f"{NOT_UTF8}.txt").write_text("beside")


def text_called_by_a_hostile_name(folder: Path) -> None:
    (folder / f"{ESCAPE}\n{NOT_UTF8}.dcm").write_bytes(b"Not an image. " * 20)


def link_called_by_a_hostile_name(folder: Path) -> None:
    (folder / f"{TWO_LINES}.dcm").symlink_to("/etc/passwd")
