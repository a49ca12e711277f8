"""Wraps pictures as VL Whole Slide Microscopy Images, as a slide scanner exports them.

Owns the attributes of the IOD (PS3.3 A.32.8), the tiling and the JPEG encoding. It must not know what the pictures
show. `OSError` leaves `write_image`. The same arguments give the same file, byte for byte.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from moichord import __version__

TILE = 256
SCANNER_NAME = "SCANNER^EXPORT"
_DAY, _TIME = "20250131", "093000"
_SPACING = 0.00025  # mm per pixel of the scanned level, a 40x objective
_QUALITY = 85


class Flavor(StrEnum):
    """Third value of ImageType, what the image is of (PS3.3 C.8.12.4.1.1)."""

    VOLUME = "VOLUME"
    THUMBNAIL = "THUMBNAIL"
    LABEL = "LABEL"
    OVERVIEW = "OVERVIEW"


@dataclass(frozen=True, slots=True)
class Scan:
    """What all images of one scan share; `seed` tells one scan of the same sample from another."""

    sample_id: str
    seed: int

    def uid(self, of: str) -> str:
        """A UID of this scan, derived from a UUID (PS3.5 B.2); `of` says of what."""
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'moichord/{self.sample_id}/{self.seed}/{of}').int}"


def write_image(file: Path, scan: Scan, number: int, flavor: Flavor, picture: Image.Image, width_mm: float) -> None:
    """Write `picture` (RGB, `width_mm` wide on the slide) as instance `number`; a VOLUME in tiles of 256 x 256."""
    tile = (TILE, TILE) if flavor is Flavor.VOLUME else picture.size
    frames = [_jpeg(part) for part in _tiles(picture, *tile)]
    dataset = FileDataset(str(file), Dataset(), preamble=bytes(128), file_meta=_file_meta(scan, number))
    _identity(dataset, scan, number)
    _equipment(dataset)
    _specimen(dataset, scan)
    _optical_path(dataset)
    _pixels(dataset, picture.size, tile, len(frames))
    dataset.LossyImageCompressionRatio = round(picture.width * picture.height * 3 / sum(map(len, frames)), 2)
    _place_on_slide(dataset, scan, flavor, number, width_mm * picture.height / picture.width, width_mm)
    _functional_groups(dataset, width_mm / picture.width)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file, enforce_file_format=True)


def scanned_width_mm(pixels: int) -> float:
    """The width on the slide of so many pixels of the scanned level."""
    return pixels * _SPACING


def _tiles(picture: Image.Image, width: int, height: int) -> list[Image.Image]:
    """Row by row from the top left, the order of TILED_FULL; what lies past the edge is black (PS3.3 C.8.12.14)."""
    return [
        picture.crop((left, top, left + width, top + height))
        for top in range(0, picture.height, height)
        for left in range(0, picture.width, width)
    ]


def _jpeg(picture: Image.Image) -> bytes:
    stream = BytesIO()
    # 4:2:2 is what PhotometricInterpretation YBR_FULL_422 says.
    picture.save(stream, "JPEG", quality=_QUALITY, subsampling="4:2:2")
    return stream.getvalue()


def _file_meta(scan: Scan, number: int) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = UID(scan.uid(f"image {number}"))
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationVersionName = "SANDBOX_SCANNER"
    return meta


def _identity(dataset: Dataset, scan: Scan, number: int) -> None:
    """Patient, study and series as the scanner knows them: by the sample's ID alone."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.SOPInstanceUID = scan.uid(f"image {number}")
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = _DAY
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = _TIME
    dataset.AcquisitionDateTime = _DAY + _TIME
    dataset.AccessionNumber = ""
    dataset.Modality = "SM"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName = SCANNER_NAME
    dataset.PatientID = scan.sample_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyInstanceUID = scan.uid("study")
    dataset.SeriesInstanceUID = scan.uid("series")
    dataset.StudyID = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = number


def _equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "moichord"
    dataset.ManufacturerModelName = "Sandbox scanner"
    dataset.DeviceSerialNumber = "SANDBOX-1"
    dataset.SoftwareVersions = __version__


def _specimen(dataset: Dataset, scan: Scan) -> None:
    """Specimen Module (PS3.3 C.7.6.22) and Acquisition Context: one slide with one smear."""
    dataset.ContainerIdentifier = scan.sample_id
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    specimen = Dataset()
    specimen.SpecimenIdentifier = scan.sample_id
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenUID = scan.uid("specimen")
    specimen.SpecimenPreparationSequence = []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.AcquisitionContextSequence = []


def _optical_path(dataset: Dataset) -> None:
    """Optical Path Module (PS3.3 C.8.12.5): one path of white light, its colours sRGB."""
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [_code("111744", "DCM", "Brightfield illumination")]
    path.IlluminationColorCodeSequence = [_code("414298005", "SCT", "Full Spectrum")]
    path.ICCProfile = _srgb()
    dataset.OpticalPathSequence = [path]
    dataset.NumberOfOpticalPaths = 1


def _srgb() -> bytes:
    """An ICC input profile for sRGB without the date and time at which it was made (ICC.1 7.2)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"scnr"
    profile[24:36] = bytes.fromhex("07e9 0001 001f 0009 001e 0000")
    return bytes(profile) + b"\0" * (len(profile) % 2)


def _pixels(dataset: Dataset, size: tuple[int, int], tile: tuple[int, int], frames: int) -> None:
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = size
    dataset.Columns, dataset.Rows = tile
    dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"


def _place_on_slide(
    dataset: Dataset, scan: Scan, flavor: Flavor, number: int, height_mm: float, width_mm: float
) -> None:
    """Frame of Reference, Microscope Slide Layer and Whole Slide Microscopy Image Modules (PS3.3 C.8.12.4)."""
    shows_label = flavor in (Flavor.LABEL, Flavor.OVERVIEW)
    original = number == 1 or shows_label
    dataset.ImageType = ["ORIGINAL" if original else "DERIVED", "PRIMARY", flavor, "NONE" if original else "RESAMPLED"]
    dataset.BurnedInAnnotation = "YES" if shows_label else "NO"
    dataset.SpecimenLabelInImage = "YES" if shows_label else "NO"
    if shows_label:
        dataset.LabelText, dataset.BarcodeValue = scan.sample_id, ""
    dataset.FrameOfReferenceUID = scan.uid("label frame" if flavor is Flavor.LABEL else "frame of reference")
    dataset.PositionReferenceIndicator = "SLIDE_CORNER"
    dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = width_mm, height_mm
    dataset.ImagedVolumeDepth = 1.0
    dataset.VolumetricProperties = "VOLUME"
    dataset.FocusMethod = "AUTO"
    dataset.ExtendedDepthOfField = "NO"
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    dataset.TotalPixelMatrixFocalPlanes = 1
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    dataset.TotalPixelMatrixOriginSequence = [origin]


def _functional_groups(dataset: Dataset, spacing: float) -> None:
    """Multi-frame Functional Groups and Dimension Modules: the same for all frames, their place by order alone."""
    measures, frame_type, path, groups, organization = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    measures.SliceThickness = 0.001
    measures.PixelSpacing = [spacing, spacing]
    frame_type.FrameType = dataset.ImageType
    path.OpticalPathIdentifier = "1"
    groups.PixelMeasuresSequence = [measures]
    groups.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    groups.OpticalPathIdentificationSequence = [path]
    dataset.SharedFunctionalGroupsSequence = [groups]
    organization.DimensionOrganizationUID = f"{dataset.SeriesInstanceUID}.1"
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.DimensionOrganizationSequence = [organization]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
