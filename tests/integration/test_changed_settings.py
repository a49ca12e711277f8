"""A sample that has begun ends by the rules that it began with, whatever is configured meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
