"""The upload step: what several failures mean together, and files that come too late."""

import pytest

from moichord.errors import ApiOutage, ApiTransient, SampleFailure
from moichord.pipeline.upload_images import _raise_gravest
from moichord.sample import Api


def transient(retry_after: float | None) -> ApiTransient:
    return ApiTransient(f"later ({retry_after})", api=Api.UPLOAD, retry_after=retry_after)


def test_of_several_transient_failures_the_longest_wait_that_was_asked_for_is_honoured() -> None:
    with pytest.raises(ApiTransient) as raised:
        _raise_gravest([transient(None), transient(3600.0), transient(2.0)])
    assert raised.value.retry_after == 3600.0


@pytest.mark.parametrize("first", [0, 1])
def test_a_fault_of_the_sample_outweighs_those_of_the_server(first: int) -> None:
    failures = [SampleFailure("broken"), ApiOutage("down", api=Api.UPLOAD)]
    with pytest.raises(SampleFailure):
        _raise_gravest([failures[first], failures[1 - first], transient(5.0)])
