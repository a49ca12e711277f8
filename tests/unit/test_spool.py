"""The moves of a sample: whole in one place at every moment, repeatable, never over another."""

import errno
import itertools
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from moichord import durable
from moichord.errors import ConfigurationInvalid, FoldersUnwritable, ForeignFolder, Moved, StateInUse, UsageRefused
from moichord.sample import FAILED_NAME, RECEIPT_NAME
from moichord.spool import Kind, NotTaken, Spool, candidates, receipt_owner

STATE = "11111111-1111-4111-8111-111111111111"
UUID = "22222222-2222-4222-8222-222222222222"
OTHER = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    for name in ("inbox", "done", "failed"):
        (tmp_path / name).mkdir()
    spool = Spool(tmp_path / "inbox", tmp_path / "work", tmp_path / "done", tmp_path / "failed", STATE)
    spool.prepare()
    return spool


def drop(spool: Spool, name: str = "A123", contents: bytes = b"image") -> Path:
    folder = spool.inbox / name
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.dcm").write_bytes(contents)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SAMPLE = {"deep/one.dcm": b"image"}


def take(spool: Spool, name: str = "A123", uuid: str = UUID) -> None:
    assert spool.take([(name, uuid)]) == {uuid: None}


def write_receipt(folder: Path, uuid: str) -> None:
    (folder / RECEIPT_NAME).write_text(json.dumps({"version": 1, "submission": uuid}))


def finish(spool: Spool, kind: Kind = "failed", place: str = "A123") -> Path:
    """A sample's trip to its end."""
    drop(spool)
    take(spool)
    write_receipt(spool.folder(UUID, "A123"), UUID)
    spool.move_out(kind, UUID, "A123", place)
    return (spool.done if kind == "done" else spool.failed) / place


@pytest.fixture(params=["same file system", "other file systems"])
def wherever_done_and_failed_lie(request, spool: Spool, monkeypatch) -> bool:
    """done and failed beside work, or each on a file system of its own; True for the latter."""
    if request.param == "same file system":
        return False
    rename = durable.rename_noreplace

    def crossing(source: Path, destination: Path) -> None:
        places = (path.relative_to(spool.inbox.parent).parts[0] for path in (source, destination))
        if len({"share" if place in ("inbox", "work") else place for place in places}) > 1:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, destination)

    monkeypatch.setattr(durable, "rename_noreplace", crossing)
    return True


# Start-up


def test_work_is_created_for_the_daemon_alone_and_marked(spool: Spool) -> None:
    assert stat.S_IMODE(spool.work.stat().st_mode) == 0o700
    assert (spool.work / ".moichord-state").read_text() == f"{STATE}\n"
    spool.work.chmod(0o755)
    assert spool.prepare() == ()
    assert stat.S_IMODE(spool.work.stat().st_mode) == 0o700
    assert [path.name for path in spool.work.iterdir()] == [".moichord-state"]
    assert list(spool.inbox.iterdir()) == []


def test_all_missing_folders_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "failed").write_bytes(b"")
    spool = Spool(tmp_path / "inbox", tmp_path / "work", tmp_path / "done", tmp_path / "failed", STATE)
    with pytest.raises(ConfigurationInvalid) as caught:
        spool.prepare()
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "folders.inbox",
        "folders.done",
        "folders.failed",
    ]
    assert not (tmp_path / "work").exists()


def test_a_work_folder_of_another_state_is_refused_and_untouched(spool: Spool) -> None:
    drop(spool)
    take(spool)
    other = Spool(spool.inbox, spool.work, spool.done, spool.failed, OTHER)
    with pytest.raises(ForeignFolder) as caught:
        other.prepare()
    assert caught.value.remedy is not None
    assert "run --adopt-work" in caught.value.remedy
    assert contents(spool.folder(UUID, "A123")) == SAMPLE


def test_a_work_folder_with_samples_but_without_a_mark_is_refused(spool: Spool) -> None:
    drop(spool)
    take(spool)
    (spool.work / ".moichord-state").unlink()
    with pytest.raises(ForeignFolder, match="unknown state"):
        spool.prepare()


def test_adopting_returns_the_orphans_to_the_inbox_beside_what_lies_there(spool: Spool) -> None:
    drop(spool)
    take(spool)
    drop(spool, contents=b"newer")
    (spool.work / UUID / ".moichord-copy").mkdir()
    other = Spool(spool.inbox, spool.work, spool.done, spool.failed, OTHER)
    assert other.prepare(adopt=True) == ("A123.attempt-001",)
    assert contents(spool.inbox / "A123") == {"deep/one.dcm": b"newer"}
    assert contents(spool.inbox / "A123.attempt-001") == SAMPLE
    assert other.orphans() == ()
    assert other.prepare() == ()


def test_adopting_is_refused_while_the_other_daemon_runs_and_nothing_is_touched(spool: Spool, tmp_path: Path) -> None:
    lock, own = durable.Lock(tmp_path / "state.db.lock"), tmp_path / "own.lock"
    assert replace(spool, lock=tmp_path / "state.db.lock").prepare() == ()
    drop(spool)
    take(spool)
    other = replace(spool, state_uuid=OTHER, lock=own)
    assert lock.try_acquire()
    with pytest.raises(StateInUse, match=r"state\.db\.lock") as caught:
        other.prepare(adopt=True)
    assert caught.value.exit_code == 75
    assert contents(spool.folder(UUID, "A123")) == SAMPLE
    lock.release()
    assert other.prepare(adopt=True) == ("A123",)
    with pytest.raises(ForeignFolder):
        spool.prepare()


def test_a_state_that_was_lost_under_the_same_name_is_adopted_by_whoever_holds_its_lock(
    spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    replace(spool, lock=tmp_path / "link" / "state.db.lock").prepare()
    drop(spool)
    take(spool)
    lock = durable.Lock(tmp_path / "state.db.lock")
    assert lock.try_acquire()
    assert replace(spool, state_uuid=OTHER, lock=tmp_path / "state.db.lock").prepare(adopt=True) == ("A123",)
    lock.release()


def test_a_mark_of_an_earlier_version_learns_the_lock(spool: Spool, tmp_path: Path) -> None:
    replace(spool, lock=tmp_path / "state.db.lock").prepare()
    assert (spool.work / ".moichord-state").read_text() == f"{STATE}\n{tmp_path / 'state.db.lock'}\n"
    assert spool.work_is_ours()


def test_an_inbox_on_another_file_system_than_work_is_a_configuration_error(spool: Spool, monkeypatch) -> None:
    def crossing(source: Path, destination: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(durable, "rename_noreplace", crossing)
    with pytest.raises(ConfigurationInvalid, match="same file system"):
        spool.prepare()
    assert list(spool.inbox.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_hinders_the_start_is_no_fault_of_the_settings(spool: Spool, monkeypatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable, "rename_noreplace", refuse)
    with pytest.raises(FoldersUnwritable, match=os.strerror(code)) as caught:
        spool.prepare()
    assert (caught.value.exit_code, list(spool.inbox.iterdir())) == (75, [])
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FoldersUnwritable, match=os.strerror(code)):
        spool.prepare()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_work_folder_into_which_nothing_may_be_renamed_is_a_configuration_error(
    spool: Spool, monkeypatch, code: int
) -> None:
    def refuse(source: Path, destination: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable, "rename_noreplace", refuse)
    with pytest.raises(ConfigurationInvalid, match=os.strerror(code)):
        spool.prepare()


def test_a_leftover_that_cannot_be_removed_is_in_nobodys_way(spool: Spool) -> None:
    (spool.inbox / ".moichord-probe-1" / "put there by a person").mkdir(parents=True)
    (spool.work / ".moichord-0123.tmp").mkdir()
    spool.prepare()


def test_leftovers_of_a_start_that_was_cut_short_are_removed(spool: Spool) -> None:
    (spool.work / ".moichord-0123.tmp").write_bytes(b"half a mark")
    (spool.inbox / ".moichord-probe-1").mkdir()
    (spool.work / ".moichord-probe-2").mkdir()
    spool.prepare()
    assert list(spool.inbox.iterdir()) == []
    assert [path.name for path in spool.work.iterdir()] == [".moichord-state"]


# Taking


def test_samples_are_taken_together_with_one_sync_of_each_parent(spool: Spool, monkeypatch) -> None:
    names = [f"A{number}" for number in range(5)]
    uuids = [f"{number}2222222-2222-4222-8222-222222222222" for number in range(5)]
    for name in names:
        drop(spool, name)
    synced: list[Path] = []
    monkeypatch.setattr(durable, "fsync_folder", synced.append)
    assert spool.take(list(zip(names, uuids, strict=True))) == dict.fromkeys(uuids)
    assert [contents(spool.folder(uuid, name)) for name, uuid in zip(names, uuids, strict=True)] == [SAMPLE] * 5
    assert synced == [*(spool.work / uuid for uuid in uuids), spool.work, spool.inbox]
    assert spool.orphans() == tuple(uuids)
    assert stat.S_IMODE((spool.work / uuids[0]).stat().st_mode) == 0o700


def test_taking_again_what_was_taken_is_fine_and_leaves_a_new_drop_alone(spool: Spool) -> None:
    drop(spool)
    take(spool)
    take(spool)
    drop(spool, contents=b"newer")
    take(spool)
    assert contents(spool.folder(UUID, "A123")) == SAMPLE
    assert contents(spool.inbox / "A123") == {"deep/one.dcm": b"newer"}
    assert spool.where(UUID, "A123") == {"inbox", "work"}


def test_a_placeholder_of_a_taking_cut_short_is_no_sample(spool: Spool) -> None:
    drop(spool)
    spool.folder(UUID, "A123").mkdir(parents=True)
    take(spool)
    assert contents(spool.folder(UUID, "A123")) == SAMPLE


def test_a_folder_that_went_away_is_gone_and_leaves_nothing_in_work(spool: Spool) -> None:
    drop(spool, "B")
    results = spool.take([("A123", UUID), ("B", OTHER)])
    refusal = results[UUID]
    assert refusal is not None
    assert refusal.gone
    assert results[OTHER] is None
    assert spool.orphans() == (OTHER,)
    assert spool.where(UUID, "A123") == frozenset()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "Ask for group write permission in the inbox"),
        (errno.EPERM, "Ask for group write permission in the inbox"),
        (errno.EBUSY, "close the programs that have it open"),
        (errno.ENOSPC, "No space left on device"),
        (errno.ESTALE, "Stale file handle"),
    ],
)
def test_a_folder_that_cannot_be_renamed_stays_and_says_why(spool: Spool, monkeypatch, code: int, words: str) -> None:
    drop(spool)

    def refuse(source: Path, destination: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable, "rename_noreplace", refuse)
    refusal = spool.take([("A123", UUID)])[UUID]
    assert isinstance(refusal, NotTaken)
    assert words in refusal.problem
    assert not refusal.gone
    assert contents(spool.inbox / "A123") == SAMPLE
    assert spool.orphans() == ()


def test_a_sync_that_fails_is_an_error_and_the_taking_can_be_repeated(spool: Spool, monkeypatch) -> None:
    drop(spool)

    def fails(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable, "fsync_folder", fails)
    with pytest.raises(OSError, match="Input/output"):
        spool.take([("A123", UUID)])
    monkeypatch.undo()
    take(spool)
    assert contents(spool.folder(UUID, "A123")) == SAMPLE


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0"])
def test_a_name_that_leads_elsewhere_is_refused(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of one folder"):
        spool.take([(name, UUID)])


def test_an_inbox_that_does_not_answer_is_not_an_absent_sample(spool: Spool, monkeypatch) -> None:
    def fails(self: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "lstat", fails)
    with pytest.raises(OSError, match="Input/output"):
        spool.where(UUID, "A123")


# Moving out


def test_names_never_replace_and_count_on() -> None:
    assert list(itertools.islice(candidates("A123", 2), 4)) == [
        "A123",
        "A123.attempt-002",
        "A123.attempt-002.2",
        "A123.attempt-002.3",
    ]


@pytest.mark.parametrize("name", ["A123.attempt-002", "A123.attempt-003", "A123.attempt-002.2"])
def test_the_number_of_an_earlier_attempt_is_not_part_of_a_new_name(name: str) -> None:
    assert list(itertools.islice(candidates(name, 3), 3)) == ["A123", "A123.attempt-003", "A123.attempt-003.2"]
    assert next(candidates(".attempt-002", 3)) == ".attempt-002"


def test_a_free_name_is_the_first_that_nothing_lies_under(spool: Spool) -> None:
    assert spool.free_name("done", "A123", 2) == "A123"
    (spool.done / "A123").symlink_to("/nowhere")
    (spool.done / "A123.attempt-002").mkdir()
    assert spool.free_name("done", "A123", 2) == "A123.attempt-002.2"
    assert spool.free_name("failed", "A123", 2) == "A123"


@pytest.mark.parametrize("kind", ["done", "failed"])
def test_a_finished_sample_appears_whole_with_its_receipt(
    spool: Spool, wherever_done_and_failed_lie: bool, kind: Kind
) -> None:
    place = finish(spool, kind, "A123.attempt-002")
    assert set(contents(place)) == {"deep/one.dcm", RECEIPT_NAME}
    assert receipt_owner(place) == UUID
    assert spool.arrived(kind, UUID, "A123.attempt-002")
    assert ("work" in spool.where(UUID, "A123")) == wherever_done_and_failed_lie
    assert [path.name for path in place.parent.iterdir()] == ["A123.attempt-002"]
    spool.discard(UUID)
    spool.discard(UUID)
    assert spool.orphans() == ()


@pytest.mark.usefixtures("wherever_done_and_failed_lie")
def test_moving_again_what_was_moved_is_fine(spool: Spool) -> None:
    place = finish(spool, "done")
    before = contents(place)
    for _ in range(2):
        spool.move_out("done", UUID, "A123", "A123")
        spool.discard(UUID)
    assert contents(place) == before


@pytest.mark.usefixtures("wherever_done_and_failed_lie")
@pytest.mark.parametrize("owner", [OTHER, None])
def test_a_target_of_another_is_never_touched(spool: Spool, owner: str | None) -> None:
    drop(spool)
    take(spool)
    write_receipt(spool.folder(UUID, "A123"), UUID)
    (spool.done / "A123").mkdir()
    (spool.done / "A123" / "theirs").write_bytes(b"theirs")
    if owner:
        write_receipt(spool.done / "A123", owner)
    before = contents(spool.done / "A123")
    with pytest.raises(FileExistsError):
        spool.move_out("done", UUID, "A123", "A123")
    assert contents(spool.done / "A123") == before
    assert "deep/one.dcm" in contents(spool.folder(UUID, "A123"))
    assert [path.name for path in spool.done.iterdir()] == ["A123"]


def test_a_copy_cut_short_is_begun_anew(spool: Spool, wherever_done_and_failed_lie: bool) -> None:
    (spool.done / f".moichord-{UUID}" / "deep").mkdir(parents=True)
    (spool.done / f".moichord-{UUID}" / "deep" / "one.dcm").write_bytes(b"im")
    place = finish(spool, "done")
    assert contents(place)["deep/one.dcm"] == b"image"
    assert os.path.exists(spool.done / f".moichord-{UUID}") is not wherever_done_and_failed_lie


def test_a_placeholder_of_a_move_cut_short_is_nobodys_sample(spool: Spool) -> None:
    (spool.done / "A123").mkdir()
    assert contents(finish(spool, "done"))["deep/one.dcm"] == b"image"


def test_a_move_is_durable_in_both_places_also_when_it_was_done_before(spool: Spool, monkeypatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "fsync_folder", synced.append)
    finish(spool, "done")
    assert synced[-2:] == [spool.done, spool.work / UUID]
    synced.clear()
    spool.move_out("done", UUID, "A123", "A123")
    assert synced == [spool.done, spool.work / UUID]
    spool.discard(UUID)
    assert synced[-1] == spool.work


def test_a_sample_in_neither_place_is_an_alarm(spool: Spool) -> None:
    with pytest.raises(Moved, match="neither in work nor in"):
        spool.move_out("done", UUID, "A123", "A123")


def test_a_missing_destination_leaves_the_sample_in_work(spool: Spool) -> None:
    drop(spool)
    take(spool)
    spool.done.rmdir()
    with pytest.raises(FileNotFoundError):
        spool.move_out("done", UUID, "A123", "A123")
    assert contents(spool.folder(UUID, "A123")) == SAMPLE


@pytest.mark.usefixtures("wherever_done_and_failed_lie")
def test_folders_in_failed_can_be_taken_back_by_the_group(spool: Spool) -> None:
    folder = drop(spool)
    for path in (folder, folder / "deep"):
        path.chmod(0o2700)
    (folder / "deep" / "one.dcm").chmod(0o640)
    take(spool)
    write_receipt(spool.folder(UUID, "A123"), UUID)
    spool.move_out("failed", UUID, "A123", "A123")
    for path in (spool.failed / "A123", spool.failed / "A123" / "deep"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o777 == 0o770
    assert stat.S_IMODE((spool.failed / "A123" / "deep" / "one.dcm").stat().st_mode) == 0o640


def test_what_cannot_be_copied_to_another_file_system_is_said(spool: Spool, wherever_done_and_failed_lie: bool) -> None:
    folder = drop(spool)
    (folder / "link.dcm").symlink_to("/etc/passwd")
    os.mknod(folder / "socket", stat.S_IFSOCK | 0o600)
    take(spool)
    missing = spool.move_out("failed", UUID, "A123", "A123")
    assert missing == (("socket is a socket and was not copied",) if wherever_done_and_failed_lie else ())
    assert (spool.failed / "A123" / "link.dcm").is_symlink()


# Back again


@pytest.mark.usefixtures("wherever_done_and_failed_lie")
def test_a_failed_sample_comes_back_as_it_was_received(spool: Spool) -> None:
    place = finish(spool)
    (place / FAILED_NAME).write_text("why")
    spool.discard(UUID)
    for _ in range(2):
        spool.bring_back("failed", "A123", UUID, "A123")
        assert contents(spool.folder(UUID, "A123")) == SAMPLE
        spool.delete("failed", "A123", UUID)
        assert list(spool.failed.iterdir()) == []


def test_a_placeholder_of_a_return_cut_short_is_no_sample(spool: Spool) -> None:
    finish(spool)
    spool.folder(UUID, "A123").mkdir(parents=True, exist_ok=True)
    spool.bring_back("failed", "A123", UUID, "A123")
    assert contents(spool.folder(UUID, "A123")) == SAMPLE


def alter_nothing_left(place: Path) -> None:
    durable.remove_tree(place)


def alter_receipt_gone(place: Path) -> None:
    (place / RECEIPT_NAME).unlink()


def alter_receipt_garbled(place: Path) -> None:
    (place / RECEIPT_NAME).write_text("{" * 100_000)


def alter_receipt_of_another(place: Path) -> None:
    write_receipt(place, OTHER)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (alter_nothing_left, "is gone"),
        (alter_receipt_gone, "was altered"),
        (alter_receipt_garbled, "was altered"),
        (alter_receipt_of_another, "another submission"),
    ],
)
def test_what_is_gone_or_altered_is_refused_by_name(spool: Spool, alter, words: str) -> None:
    place = finish(spool)
    spool.discard(UUID)
    alter(place)
    with pytest.raises(UsageRefused, match=words) as caught:
        spool.bring_back("failed", "A123", UUID, "A123")
    assert str(place) in caught.value.problem
    assert spool.orphans() == ()
    assert not spool.delete("failed", "A123", UUID)


def test_a_receipt_that_is_a_link_or_a_pipe_is_not_followed(spool: Spool) -> None:
    place = finish(spool)
    receipt = place / RECEIPT_NAME
    receipt.rename(spool.inbox / "receipt")
    receipt.symlink_to(spool.inbox / "receipt")
    assert receipt_owner(place) is None
    receipt.unlink()
    os.mkfifo(receipt)
    assert receipt_owner(place) is None


def test_a_deletion_cut_short_is_finished_by_the_next(spool: Spool) -> None:
    (finish(spool)).rename(spool.failed / f".moichord-{UUID}")
    assert spool.delete("failed", "A123", UUID)
    assert list(spool.failed.iterdir()) == []


def test_a_deletion_is_durable_also_when_a_crash_kept_that_from_being_known(spool: Spool, monkeypatch) -> None:
    """Else the power may bring back what is recorded as deleted, and nobody looks for it any more."""
    synced: list[Path] = []
    monkeypatch.setattr(durable, "fsync_folder", synced.append)
    finish(spool).rename(spool.failed / f".moichord-{UUID}")
    for expected in (True, False):
        synced.clear()
        assert spool.delete("failed", "A123", UUID) is expected
        assert synced[-1:] == [spool.failed]
