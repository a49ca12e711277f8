"""What the templates of the configuration can name of a submission: in calls, in keys of requests, in wanted tags.

Owns these names. It must not know templates. No error leaves it.
"""

from collections.abc import Mapping

from moichord.sample import Submission


def names_of(submission: Submission, metadata: Mapping[str, object] | None = None) -> dict[str, object]:
    """The names that templates may use."""
    names: dict[str, object] = {
        "sample_id": submission.sample_id,
        "attempt_number": submission.attempt_number,
        "submission": submission.uuid,
    }
    return names if metadata is None else {**names, "metadata": metadata}
