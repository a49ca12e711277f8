"""The errors of this package. No other exception leaves it for what a file or a value contains.

    DicomError
    ├── NotDicom       not a DICOM Part 10 file: it can never become one
    ├── Incomplete     cut off, or not written yet: it may become complete
    ├── Malformed      breaks a rule of the standard or of our limits: it can never be right
    ├── Changed        the file was altered while it was being read
    └── Unfit          a value cannot be written, or must not replace the one that is there

Owns the wording of offsets and tags. It must not know files. `OSError` passes through untouched: the disk's own
troubles are no property of an image.
"""


def tag_text(tag: int) -> str:
    """A tag as the standard prints it: (gggg,eeee), hexadecimal."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class DicomError(Exception):
    """What is wrong, and as far as known: in which element, at which byte, how many bytes are needed and there.

    `limit` takes the place of `have` where not the file but our patience ends.

    The message may hold values of the image. `brief` is the same without them, for logs.
    """

    def __init__(
        self,
        problem: str,
        *,
        tag: int | None = None,
        offset: int | None = None,
        need: int | None = None,
        have: int | None = None,
        limit: int | None = None,
        brief: str | None = None,
    ) -> None:
        self.problem = problem
        self.tag = tag
        self.offset = offset
        self.need = need
        self.have = have
        self.limit = limit
        self.brief = self._sentence(brief or problem)
        super().__init__(self._sentence(problem))

    def _sentence(self, problem: str) -> str:
        place = []
        if self.tag is not None:
            place.append(f"element {tag_text(self.tag)}")
        if self.offset is not None:
            place.append(f"at byte {self.offset}")
        if self.need is not None and self.have is not None:
            place.append(f"{self.need} bytes needed, {self.have} there")
        if self.need is not None and self.limit is not None:
            place.append(f"{self.need} bytes, and no more than {self.limit} are accepted")
        return f"{problem} ({', '.join(place)})" if place else problem


class NotDicom(DicomError):
    """Not a DICOM Part 10 file, and no further byte can make it one (PS3.10 7.1)."""


class Incomplete(DicomError):
    """Cut off, or reserved but not written: the rest may still arrive."""


class Malformed(DicomError):
    """Against the standard, or beyond the limits within which files are read."""


class Changed(DicomError):
    """The file is no longer the one that was walked."""


class Unfit(DicomError):
    """A value that cannot be written, or that contradicts the image.

    `keyword` names the attribute and `source` where the wanted value comes from ("" if none was wanted).
    """

    def __init__(
        self, problem: str, *, keyword: str = "", source: str = "", tag: int | None = None, brief: str | None = None
    ) -> None:
        super().__init__(problem, tag=tag, brief=brief)
        self.keyword = keyword
        self.source = source
