"""Upload protocol multipart: a form as browsers send it, as long as it says, and whose file is untouched."""

from email import message_from_bytes
from email.message import Message

import pytest

from moichord.apis.upload import Instance
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.multipart import MultipartUpload, form_data, new_boundary
from moichord.errors import ApiRefusal
from tests.fault_server import FaultServer, Seen, answering
from tests.unit.apis.endpoints import client
from tests.unit.apis.parcels import CONTENT, UID, OnlyLength, instance, parcel, whole

ACCEPTANCE = Acceptance(frozenset({200, 201}))


def sent(*answers: int, file_field: str = "file", **fields: str) -> Seen:
    with FaultServer(*(answering(status, b"{}") for status in answers or (201,))) as server:
        uploader = MultipartUpload(client(server.url), ACCEPTANCE, file_field=file_field)
        (stored,) = uploader.send(parcel(**fields))
        assert (stored.status, stored.reply, stored.already_stored) == (201, {}, False)
    return server.requests[0]


def parts_of(seen: Seen) -> list[Message]:
    """The form, taken apart by the standard library's reader of mail."""
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + bytes(seen.body))
    assert message.get_content_type() == "multipart/form-data"
    assert not message.defects
    return list(message.walk())[1:]


def disposition(part: Message, name: str) -> object:
    return part.get_param(name, header="content-disposition")


def test_the_file_is_the_last_part_behind_the_fields() -> None:
    seen = sent(sample="S1", note="grüne Wiese")
    sample, note, file = parts_of(seen)
    assert [disposition(part, "name") for part in (sample, note, file)] == ["sample", "note", "file"]
    assert sample.get_payload(decode=True) == b"S1"
    assert note.get_payload(decode=True) == "grüne Wiese".encode()
    assert file.get_content_type() == "application/dicom"
    assert disposition(file, "filename") == f"{UID}.dcm"
    assert CONTENT in bytes(seen.body)
    assert seen.headers["content-length"] == str(len(seen.body))
    assert (seen.headers["idempotency-key"], seen.headers["x-lab"]) == ("key-1", "north")


def test_the_field_of_the_file_is_the_configured_one() -> None:
    (file,) = parts_of(sent(file_field="image"))
    assert disposition(file, "name") == "image"


def test_a_form_is_written_as_the_standard_has_it() -> None:
    form = form_data(instance(b"DICM"), "file", {"a": "1"}, "B")
    assert whole(form) == (
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="1.2.840.1.dcm"\r\n'
        b"Content-Type: application/dicom\r\n\r\nDICM\r\n--B--\r\n"
    )


def test_names_cannot_end_their_quotes() -> None:
    form = whole(form_data(instance(b"", 'u"\r\n'), 'f"ile', {}, "B"))
    assert b'name="f%22ile"; filename="u%22%0D%0A.dcm"\r\n' in form


@pytest.mark.parametrize("block", [1, 7, 4096, 1 << 20])
def test_a_form_can_be_opened_again_and_read_in_any_blocks(block: int) -> None:
    form = form_data(instance(), "file", {"a": "1"}, "B")
    assert whole(form, block) == whole(form, block) == whole(form)


def test_a_boundary_is_never_the_same_and_not_to_be_guessed() -> None:
    boundaries = {new_boundary() for _ in range(100)}
    assert len(boundaries) == 100
    assert all(len(boundary.removeprefix("moichord-")) == 40 and len(boundary) <= 70 for boundary in boundaries)


def test_the_length_of_a_form_beyond_4_gib_is_known_without_reading_it() -> None:
    small, large = (form_data(Instance(OnlyLength(size), UID), "file", {}, "B").length for size in (0, 5 << 30))
    assert large - small == 5 << 30


def test_a_refusal_is_a_refusal() -> None:
    with FaultServer(answering(413)) as server, pytest.raises(ApiRefusal):
        MultipartUpload(client(server.url), ACCEPTANCE, file_field="file").send(parcel())
