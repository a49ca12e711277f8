"""Which rows of history are news, when a message goes out, and what it says."""

import pytest

from moichord.queue.announcements import Row
from moichord.sample import Event, State
from moichord.status.notify.news import MOST_NAMED, News, message, news_of, shown_id
from moichord.status.notify.timing import LONGEST_RETRY, RAREST, Pace

NOON = 1_700_000_000.0


def occasion(kind: str, text: str = "something: happened", **detail: str) -> Row:
    return Row(1, Event(NOON, "", None, None, None, text, {"occasion": kind, **detail}), None, None)


def failed(sample_id: str, step: str | None = "upload") -> Row:
    return Row(1, Event(NOON, sample_id, "uuid", State.FAILED, None, "Secret^Name is wrong"), 2, step)


def news(*rows: Row) -> list[News]:
    found = [news_of(row) for row in rows]
    return [one for one in found if one is not None]


def said(*rows: Row, place: str = "lab", masked: str = "nothing-to-mask") -> tuple[str, str]:
    made = message(news(*rows), NOON, place, lambda text: text.replace(masked, "***"))
    return made.title, made.body


@pytest.mark.parametrize(
    ("row", "event", "headline"),
    [
        (failed("A-1"), "failed", "A-1 failed"),
        (
            occasion("outage_began", "the upload API is held: no", api="upload"),
            "outage",
            "The image server cannot be used",
        ),
        (occasion("outage_ended", api="metadata"), "recovered", "The metadata server answers again"),
        (occasion("share_began", "the inbox is not there"), "outage", "The inbox is not there"),
        (occasion("share_ended", "the inbox can be used again"), "recovered", "The inbox can be used again"),
        (occasion("disk_low_began"), "disk_low", "A disk is low"),
        (occasion("disk_low_ended", "enough is free again"), "recovered", "Enough is free again"),
        (occasion("filling_began"), "disk_low", "A disk is low"),
        (occasion("silence_began"), "silence", "No sample comes"),
        (occasion("silence_ended", "samples come again"), "recovered", "Samples come again"),
    ],
)
def test_what_people_need_to_hear_of_is_news(row: Row, event: str, headline: str) -> None:
    (one,) = news(row)
    assert (one.event, one.headline) == (event, headline)


@pytest.mark.parametrize("kind", ["started", "stopped", "paused", "resumed", "filling_ended", "anything else"])
def test_nobody_is_told_of_other_occasions(kind: str) -> None:
    assert news(occasion(kind)) == []


def test_many_failures_are_one_message_that_names_some_and_counts_the_others() -> None:
    title, body = said(*(failed(f"A-{number}") for number in range(MOST_NAMED + 5)))
    assert title == "moichord on lab: 25 samples failed"
    assert body.count("- A-") == MOST_NAMED
    assert "- A-0 (attempt 2) when it was sent, at" in body
    assert "- and 5 more:" in body
    assert "Secret" not in title + body


def test_a_message_says_how_it_stands_now_before_how_it_came() -> None:
    began = occasion("outage_began", "the upload API is held: no", api="upload")
    title, body = said(failed("A-1"), began, occasion("outage_ended", api="upload"))
    assert title == "moichord on lab: A-1 failed; The image server answers again; and 1 more"
    assert [line[7:] for line in body.splitlines()[-2:]] == [
        "The image server cannot be used: no.",
        "The image server answers again.",
    ]
    assert "Samples wait" not in body
    assert said(began)[1].endswith("all goes on by itself.")


@pytest.mark.parametrize(
    "hostile",
    [
        "<!channel>",
        "a b",
        "@everyone",
        "[x](http://evil)",
        "a\nb",
        "\x1b[31m",
        "caf\udce9",
        "\u202efdp",
        "Döe^John",
        "x" * 60,
        "",
        "..",
    ],
)
def test_an_id_that_the_contract_does_not_know_is_not_told(hostile: str) -> None:
    title, body = said(failed(hostile))
    assert hostile == "" or hostile not in title + body
    assert "(an ID that is not shown)" in body
    assert shown_id("A-1.b_2") == "A-1.b_2"


def test_secrets_and_control_characters_are_taken_out_and_lines_are_bounded() -> None:
    title, body = said(occasion("share_began", "the share k3y \x1b[31m" + "x" * 9999), place="k3y\n", masked="k3y")
    assert "k3y" not in title + body
    assert "\x1b" not in title + body
    assert "\n" not in title
    assert max(map(len, [title, *body.splitlines()])) <= 400


def test_news_is_gathered_for_the_window_and_messages_become_rarer_in_a_storm() -> None:
    pace, now, gaps = Pace(), 1000.0, []
    assert pace.due(now, 60.0) == now + 60
    for _ in range(12):
        due = pace.due(now, 60.0)
        gaps.append(due - now)
        pace, now = pace.sent(due, 60.0), due
    assert gaps == [60, 60, 120, 240, 480, *[RAREST] * 7]
    assert pace.due(now + 10 * RAREST, 60.0) == now + 10 * RAREST + 60
    rested = pace.sent(now + 10 * RAREST, 60.0)
    assert rested.due(now + 10 * RAREST, 60.0) == now + 10 * RAREST + 60


def test_a_long_window_is_kept_and_never_shortened() -> None:
    pace = Pace()
    for number in range(5):
        pace = pace.sent(7200.0 * number, 7200.0)
    assert pace.due(28800.0, 7200.0) == 28800.0 + 7200


def test_a_message_that_is_not_taken_is_tried_later_and_later() -> None:
    pace, waits = Pace(), []
    for _ in range(12):
        pace = pace.failed(0.0)
        waits.append(pace.not_before)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == LONGEST_RETRY
    assert pace.due(0.0, 60.0) == LONGEST_RETRY
    assert pace.sent(1000.0, 60.0).not_before == 0.0
