"""What the page leafs through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moichord.queue.listings import Listings
from moichord.sample import State, Step, Submission
from tests.unit.status.lab import MIB, NOON, Lab

DAY = 86400.0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def listings(lab: Lab) -> Listings:
    return Listings(lab.database)


def done(lab: Lab, sample_id: str) -> Submission:
    submission = lab.processing(sample_id, Step.ARCHIVE)
    lab.ended(submission, State.DONE)
    return lab.now(submission)


def test_finished_samples_come_newest_first_page_by_page(lab: Lab, listings: Listings) -> None:
    for number in range(5):
        lab.clock.at += 10
        done(lab, f"MO-{number}")
    lab.processing("BUSY")

    page = listings.ended(2, 2)
    assert ([one.sample_id for one in page.submissions], page.total) == (["MO-2", "MO-1"], 5)


def test_what_is_just_being_filed_is_neither_listed_nor_counted(lab: Lab, listings: Listings) -> None:
    done(lab, "FILED")
    lab.endings.conclude(lab.processing("MOVES", Step.ARCHIVE), State.DONE, "MOVES", None, None)
    for page in (listings.ended(0, 9), listings.ended(0, 9, since=NOON - 1)):
        assert ([one.sample_id for one in page.submissions], page.total) == (["FILED"], 1)


def test_one_day_is_what_ended_between_its_ends(lab: Lab, listings: Listings) -> None:
    done(lab, "EARLY")
    lab.clock.at = NOON + DAY
    done(lab, "LATE")
    middle = NOON + DAY / 2

    assert [one.sample_id for one in listings.ended(0, 9, since=middle).submissions] == ["LATE"]
    assert [one.sample_id for one in listings.ended(0, 9, before=middle).submissions] == ["EARLY"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("mo-1", {"MO-1", "MO-10"}), ("10", {"MO-10"}), ("%", set()), ("M_", {"M_X"}), ("'; --", set())],
)
def test_a_search_takes_any_part_of_a_sample_id_and_no_pattern(
    lab: Lab, listings: Listings, text: str, found: set[str]
) -> None:
    for name in ("MO-1", "MO-10", "M_X", "OTHER"):
        lab.taken(name)
    assert {one.sample_id for one in listings.matching(text, 0, 9).submissions} == found


def test_the_time_from_drop_to_done_begins_when_the_folder_was_first_seen(lab: Lab, listings: Listings) -> None:
    lab.arriving("SEEN", first_seen_at=NOON - 100)
    seen, unseen = done(lab, "SEEN"), done(lab, "UNSEEN")

    first, second = sorted(listings.ended_since(NOON - 1), key=lambda one: one.finished_at)
    assert (first.first_seen_at, first.finished_at, first.state) == (NOON - 100, seen.finished_at, State.DONE)
    assert (second.first_seen_at, second.taken_at) == (None, unseen.taken_at)
    assert listings.ended_since(lab.clock.at + 1) == []


def test_the_smallest_images_come_first_and_an_image_of_another_sample_is_not_found(
    lab: Lab, listings: Listings
) -> None:
    one, other = lab.processing("ONE", Step.UPLOAD), lab.processing("OTHER", Step.UPLOAD)
    known = listings.smallest_images(one.uuid, 2)

    assert len(known) == 2
    assert known[0].size <= known[1].size
    assert listings.image(one.uuid, known[0].number) == known[0]
    assert listings.image(other.uuid, known[0].number) is None


def test_what_is_asked_for_is_known_until_it_is_carried_out(lab: Lab, listings: Listings) -> None:
    failed = lab.processing("MO-1")
    lab.ended(failed, State.FAILED, "It is broken.")
    lab.requests.ask_retry(failed, None)
    assert listings.asked() == {failed.uuid: "retry"}

    lab.requests.done(lab.requests.open()[0], "goes on at metadata")
    assert listings.asked() == {}


def test_an_edition_changes_when_anybody_commits_and_only_then(lab: Lab) -> None:
    with lab.database.edition() as edition:
        before = edition()
        assert edition() == before
        lab.taken("MO-1")
        after = edition()
        assert after != before
        assert edition() == after


def test_listed_submissions_are_whole(lab: Lab, listings: Listings) -> None:
    ended = done(lab, "MO-1")
    (found,) = listings.ended(0, 1).submissions
    assert found == ended
    assert found.size == 100 * MIB
