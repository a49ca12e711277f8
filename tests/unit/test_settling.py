"""When a sample is taken: the contract's rule, as a table of moments."""

import pytest

from moichord.inbox.seen import FileSeen, FolderSeen, Verdict, manifest_of
from moichord.inbox.settling import (
    NotYet,
    SettleRule,
    Span,
    Take,
    Tracked,
    duration,
    held_open,
    interrupted,
    judge,
    restored,
)

RULE = SettleRule(settle_time=60, incomplete_timeout=86_400)
MARKED = SettleRule(settle_time=60, incomplete_timeout=86_400, ready_marker="COMPLETE")


def file(path: str, verdict: Verdict = Verdict.COMPLETE, problem: str | None = None, *, image=True, size=10):
    return FileSeen(path, "file", size, 1, 1, 1, image, verdict, problem)


def folder(*files: FileSeen, **more) -> FolderSeen:
    return FolderSeen("A123", files, manifest_of(files), **more)


GOOD = folder(file("image-01.dcm"), file("notes.txt", image=False))
EMPTY = folder()
ARRIVING = folder(file("image-01.dcm"), file("image-03.dcm", Verdict.MAY_BECOME_COMPLETE, "ends at byte 512"))
DOOMED = folder(file("image-01.dcm"), file("link.dcm", Verdict.NEVER, "a symbolic link", image=False))


def quiet(seen: FolderSeen, seconds: float, scans: int = 99, idle_before: float = 0.0) -> Tracked:
    """A folder last seen to change `seconds` before the moment 1000."""
    return Tracked(seen.name, seen.manifest, scans - 1, 1000 - seconds, 50_000 - seconds - idle_before, idle_before)


def verdict_on(seen: FolderSeen, tracked: Tracked | None, rule: SettleRule = RULE, blocked: str | None = None):
    return judge(seen, tracked, rule, monotonic=1000, now=50_000, blocked=blocked)[1]


def reason(verdict: Take | NotYet) -> str:
    assert isinstance(verdict, NotYet)
    return verdict.reason


def test_a_complete_sample_is_taken_after_the_settle_time_and_three_scans() -> None:
    assert verdict_on(GOOD, quiet(GOOD, 60, scans=3)) == Take()


@pytest.mark.parametrize(
    ("seen", "tracked", "rule", "expected"),
    [
        (GOOD, None, RULE, "waiting 60 s more without a change"),
        (GOOD, quiet(GOOD, 17), RULE, "waiting 43 s more without a change"),
        (GOOD, quiet(GOOD, 60, scans=2), RULE, "waiting for 1 more look without a change"),
        (EMPTY, quiet(EMPTY, 600), RULE, "no image yet"),
        (folder(file("a.txt", image=False)), None, RULE, "no image yet"),
        (ARRIVING, quiet(ARRIVING, 600), RULE, "still arriving: image-03.dcm is incomplete: ends at byte 512"),
        (GOOD, quiet(GOOD, 600), MARKED, "waiting for COMPLETE"),
        (FolderSeen("?", is_sample=False), None, RULE, "its name is not a sample ID: rename the folder to the ID of"),
        (FolderSeen("A", unreadable="moichord may not read a.dcm"), None, RULE, "moichord may not read a.dcm"),
    ],
)
def test_what_is_not_taken_says_why(seen: FolderSeen, tracked, rule: SettleRule, expected: str) -> None:
    assert reason(verdict_on(seen, tracked, rule)).startswith(expected)


def test_a_changed_manifest_starts_the_clock_again() -> None:
    tracked, verdict = judge(GOOD, quiet(EMPTY, 600), RULE, monotonic=1000, now=50_000)
    assert isinstance(verdict, NotYet)
    assert tracked == Tracked("A123", GOOD.manifest, 1, 1000, 50_000)


def test_an_unchanged_manifest_only_counts_the_scan() -> None:
    before = quiet(GOOD, 10, scans=1)
    tracked, _ = judge(GOOD, before, RULE, monotonic=1000, now=50_000)
    assert tracked.unchanged_scans == before.unchanged_scans + 1
    assert tracked.last_change_at == before.last_change_at


@pytest.mark.parametrize("seen", [GOOD, DOOMED])
def test_a_marker_replaces_the_waiting_and_the_scans(seen: FolderSeen) -> None:
    marked = folder(*seen.files, marker_present=True)
    assert isinstance(verdict_on(marked, None, MARKED), Take)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(ARRIVING, "still arriving"), (EMPTY, "no image yet")],
)
def test_a_marker_replaces_nothing_else(seen: FolderSeen, expected: str) -> None:
    marked = folder(*seen.files, marker_present=True)
    assert reason(verdict_on(marked, quiet(marked, 600), MARKED)).startswith(expected)


def test_a_marker_does_not_pass_a_predecessor() -> None:
    marked = folder(*GOOD.files, marker_present=True)
    assert reason(verdict_on(marked, None, MARKED, blocked="an earlier submission")) == "an earlier submission"


def test_a_sample_that_can_never_be_whole_is_taken_to_fail_once_it_has_settled() -> None:
    assert isinstance(verdict_on(DOOMED, quiet(DOOMED, 59)), NotYet)
    taken = verdict_on(DOOMED, quiet(DOOMED, 60, scans=3))
    assert isinstance(taken, Take)
    assert taken.doomed == "link.dcm: a symbolic link"


def test_a_folder_with_only_impossible_files_need_not_wait_for_an_image() -> None:
    only = folder(file("link.dcm", Verdict.NEVER, "a symbolic link", image=False))
    assert isinstance(verdict_on(only, quiet(only, 60, scans=3)), Take)


def test_a_long_list_is_cut_short() -> None:
    many = folder(*(file(f"{n}.dcm", Verdict.NEVER, "a FIFO") for n in range(5)))
    taken = verdict_on(many, quiet(many, 60))
    assert isinstance(taken, Take)
    assert taken.doomed == "0.dcm: a FIFO; 1.dcm: a FIFO; 2.dcm: a FIFO; and 2 more"


@pytest.mark.parametrize(
    ("seen", "rule", "because"),
    [
        (ARRIVING, RULE, "image-03.dcm is incomplete"),
        (EMPTY, RULE, "no image yet"),
        (GOOD, MARKED, "waiting for COMPLETE"),
    ],
)
def test_what_stays_incomplete_is_taken_to_fail_after_the_timeout(seen: FolderSeen, rule: SettleRule, because: str):
    assert isinstance(verdict_on(seen, quiet(seen, 86_399), rule), NotYet)
    taken = verdict_on(seen, quiet(seen, 86_400), rule)
    assert isinstance(taken, Take)
    assert taken.doomed is not None
    assert taken.doomed.startswith("Still incomplete after 24 h without a change: ")
    assert because in taken.doomed


def test_the_timeout_runs_across_restarts_but_the_settle_clock_begins_again() -> None:
    tracked: Tracked | None = restored("A123", ARRIVING.manifest, 1000, monotonic=5, now=1000 + 90_000)
    verdicts = []
    for monotonic in (5, 35, 64, 65):
        tracked, verdict = judge(ARRIVING, tracked, RULE, monotonic=monotonic, now=91_000 + monotonic)
        verdicts.append(type(verdict))
    assert verdicts == [NotYet, NotYet, NotYet, Take]
    assert tracked.last_change_at == 1000


def test_a_change_during_the_restart_begins_everything_again() -> None:
    before = restored("A123", EMPTY.manifest, 1000, monotonic=5, now=91_000)
    tracked, _ = judge(ARRIVING, before, RULE, monotonic=5, now=91_000)
    assert tracked.idle_for(5) == 0
    assert tracked.last_change_at == 91_000


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    tracked, _ = judge(ARRIVING, None, RULE, monotonic=10, now=1000)
    for jumped in (1000 + 10 * 86_400, -86_400):
        tracked, verdict = judge(ARRIVING, tracked, RULE, monotonic=200, now=jumped)
        assert isinstance(verdict, NotYet)
    assert restored("A123", "m", 5000, monotonic=0, now=1000).idle_for(0) == 0


@pytest.mark.parametrize(
    "seen", [FolderSeen("bad name", is_sample=False), FolderSeen("A", unreadable="moichord may not read it")]
)
def test_what_a_person_must_mend_stays_for_ever(seen: FolderSeen) -> None:
    assert isinstance(verdict_on(seen, quiet(seen, 900_000)), NotYet)


def test_a_blocked_sample_is_taken_when_the_block_ends() -> None:
    tracked = quiet(GOOD, 600)
    tracked, verdict = judge(GOOD, tracked, RULE, monotonic=1000, now=50_000, blocked="an earlier submission of A123")
    assert verdict == NotYet("an earlier submission of A123")
    assert judge(GOOD, tracked, RULE, monotonic=1001, now=50_001)[1] == Take()


def test_a_file_held_open_keeps_a_sample_until_the_timeout() -> None:
    held = held_open("a.dcm", quiet(GOOD, 86_399), RULE, monotonic=1000)
    assert held == NotYet("a.dcm is still open for writing by a program on this machine")
    taken = held_open("a.dcm", quiet(GOOD, 86_400), RULE, monotonic=1000)
    assert isinstance(taken, Take)
    assert taken.doomed is not None
    assert taken.doomed.startswith("Still incomplete after 24 h without a change: a.dcm is still open")


def test_after_an_interruption_the_settle_clock_begins_again_and_the_time_away_counts_for_nothing() -> None:
    before = quiet(ARRIVING, 600)  # at 1000
    after = interrupted(before, since=1000, monotonic=900_000)
    assert (after.quiet_for(900_030), after.idle_for(900_030), after.unchanged_scans) == (30, 630, 0)
    assert after.manifest == before.manifest


def test_it_says_when_to_look_again_so_that_three_scans_fit_into_the_settle_time() -> None:
    rule = SettleRule(settle_time=1.0)
    monotonic, tracked, looks = 100.0, None, 0
    while True:
        tracked, verdict = judge(GOOD, tracked, rule, monotonic=monotonic, now=0)
        looks += 1
        if isinstance(verdict, Take):
            break
        assert verdict.look_again_in is not None
        monotonic += verdict.look_again_in
    assert looks == 3
    assert monotonic == 101.0


def test_control_characters_in_names_are_shown_as_escapes() -> None:
    hostile = folder(file("a\x1b[31m.dcm", Verdict.MAY_BECOME_COMPLETE, "is empty"))
    assert "a\\x1b[31m.dcm is incomplete: is empty" in reason(verdict_on(hostile, None))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (43, "43 s"),
        (90, "90 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (86_400, "24 h"),
        (259_200, "3 d"),
        (3601, "61 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_manifest_does_not_depend_on_order_but_on_every_field() -> None:
    a, b = file("a"), file("b")
    assert manifest_of([a, b]) == manifest_of([b, a])
    for changed in ({"path": "c"}, {"kind": "a folder"}, {"size": 2}, {"mtime_ns": 2}, {"ctime_ns": 2}, {"inode": 2}):
        assert manifest_of([a._replace(**changed)]) != manifest_of([a])
    assert manifest_of([a._replace(verdict=Verdict.NEVER)]) == manifest_of([a])


@pytest.mark.parametrize(
    ("unseen", "idle"),
    [
        ((), 1000),
        ((Span(200, 700),), 500),
        ((Span(-500, 100),), 900),  # it began before the last change
        ((Span(900, None),), 900),  # it has not ended
        ((Span(100, 200), Span(300, 400)), 800),
        ((Span(-500, -100),), 1000),
        ((Span(-500, 2000),), 0),
    ],
)
def test_time_in_which_nobody_could_look_counts_for_no_timeout(unseen: tuple[Span, ...], idle: float) -> None:
    tracked = restored("A123", "m", 50_000.0, monotonic=7, now=51_000.0, unseen=[shifted(span) for span in unseen])
    assert tracked.idle_for(7) == idle


def shifted(span: Span) -> Span:
    return Span(50_000 + span.since, None if span.until is None else 50_000 + span.until)
