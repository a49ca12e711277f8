"""A sample that has begun ends by the rules that it began with, whatever is configured meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moichord.pipeline import archive_sample
from moichord.sample import Api, State
from moichord.wiring import endpoints
from tests.house import Called, House, Says, ScriptedClient, house

Change = Callable[..., None]


@pytest.fixture
def lab() -> Iterator[House]:
    with house() as made:
        yield made


def configure(lab: House, block: str, **changes: Any) -> None:
    changed = getattr(lab.settings, block).model_copy(update=changes)
    lab.settings = lab.settings.model_copy(update={block: changed})


def restart(lab: House, block: str, **changes: Any) -> None:
    lab.close()
    configure(lab, block, **changes)
    lab.start()


def reload(lab: House, block: str, **changes: Any) -> None:
    configure(lab, block, **changes)
    lab.rooms.reload(lab.settings, {api: ScriptedClient(one, lab) for api, one in endpoints(lab.settings).items()})  # type: ignore[misc]


def half_sent(lab: House, *others: str) -> None:
    """A123 with these files beside its images, of which the first is stored and the second is not yet."""
    folder = lab.settings.folders.inbox / "A123"
    lab.drop("A123", images=2)
    (work,) = (lab.root / "work").glob("*/A123")
    for name in others:
        (work / name).write_bytes(b"x")
    lab.script = stored_once()
    lab.run(5)
    assert not folder.exists()
    assert lab.state("A123") is State.WAITING
    assert sorted(one.acknowledged_at is None for one in images(lab)) == [False, True]


def stored_once() -> Callable[[Called], Says | None]:
    uploads = []

    def script(called: Called) -> Says | None:
        if called.api is not Api.UPLOAD:
            return None
        uploads.append(called)
        return None if len(uploads) == 1 else Says(503)

    return script


def images(lab: House) -> list[Any]:
    return list(lab.views.detail(lab.newest("A123").uuid).images)


@pytest.mark.parametrize("change", [restart, reload])
@pytest.mark.parametrize(
    "changes",
    [
        {"ignore": ()},
        {"ignore": ("Thumbs.db", "*.log")},
        {"images": ("*.dcm", "*.log"), "temporary": ("*.log",)},
        {"limits": "fewer files"},
    ],
)
def test_what_is_ignored_concerns_only_samples_that_begin_afterwards(
    lab: House, change: Change, changes: dict[str, Any]
) -> None:
    half_sent(lab, "Thumbs.db", "scan.log")
    if "limits" in changes:
        changes = {"limits": lab.settings.watch.limits.model_copy(update={"files": 2})}
    lab.script = lambda _: None
    change(lab, "watch", **changes)
    lab.run()
    assert (lab.state("A123"), lab.newest("A123").reason) == (State.DONE, None)


def test_what_comes_late_is_noticed_by_the_rule_that_the_sample_began_with(lab: House) -> None:
    half_sent(lab, "Thumbs.db")
    lab.script = lambda _: None
    restart(lab, "watch", ignore=())
    (work,) = (lab.root / "work").glob("*/A123")
    (work / "late.dcm").write_bytes(b"x")
    lab.run()
    assert lab.state("A123") is State.FAILED
    assert "changed while being sent" in (lab.newest("A123").reason or "")


# Filing


class PowerCut(BaseException):
    """Nothing in the process survives it."""


def broken_off_while_laid(lab: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the three images of A123 the first is laid as it is to be kept."""
    laid = []

    def cut(*given: Any, **named: Any) -> str:
        if laid:
            raise PowerCut
        laid.append(given)
        return lay(*given, **named)

    lay = archive_sample.lay
    lab.drop("A123", images=3)
    with monkeypatch.context() as patch:
        patch.setattr(archive_sample, "lay", cut)
        with pytest.raises(PowerCut):
            lab.run()


def updated_in_done(lab: House) -> list[str]:
    return sorted(archive_sample.updated_already(lab.root / "done" / "A123", images(lab)))


@pytest.mark.parametrize(("began", "then", "updated"), [("updated", "original", 3), ("original", "updated", 0)])
def test_all_images_of_a_sample_are_laid_as_they_were_to_be_when_that_began(
    began: str, then: str, updated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house({"archive": {"images": began}}) as lab:
        broken_off_while_laid(lab, monkeypatch)
        restart(lab, "archive", images=then)
        lab.run()
        assert lab.state("A123") is State.DONE
        assert len(updated_in_done(lab)) == updated


@pytest.mark.parametrize("change", [restart, reload])
@pytest.mark.parametrize(("began", "then", "kept"), [("none", "updated", 0), ("updated", "none", 2)])
def test_images_are_deleted_only_if_that_was_to_be_when_filing_began(
    began: str, then: str, kept: int, change: Change
) -> None:
    with house({"archive": {"images": began}}) as lab:
        (lab.root / "done").rmdir()
        lab.drop("A123", images=2)
        lab.run(60)
        assert (lab.state("A123"), lab.newest("A123").step) == (State.WAITING, "archive")
        (lab.root / "done").mkdir()
        change(lab, "archive", images=then)
        lab.rooms.storage.look()
        lab.rooms.interruptions.wake(["disk:done"])
        lab.run()
        assert lab.state("A123") is State.DONE
        assert len(list((lab.root / "done" / "A123").glob("*.dcm"))) == kept


def test_samples_that_are_filed_afterwards_go_by_the_new_settings(lab: House) -> None:
    lab.drop("A123", images=2)
    lab.run()
    reload(lab, "archive", images="none")
    lab.drop("B456", images=2)
    lab.run()
    assert [len(list((lab.root / "done" / name).glob("*.dcm"))) for name in ("A123", "B456")] == [2, 0]
