"""A daemon against servers that cannot be relied on: every sample ends right, and requests stay bounded.

    python -m tests.lifecycle.test_fault_server 10000              so many requests, and the figures
    python -m tests.lifecycle.test_fault_server 10000 --seed 7     with other chances

All three APIs speak TLS and want a client certificate, so that the whole campaign runs through the `tls` block too.
What befalls a request, and how often: `unreliable.CHANCES`. Some hundred requests are made every day.
"""

import argparse
import itertools
import shutil
import ssl
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from moichord.sample import State
from tests.builders import write_image
from tests.integration.daemon import Daemon, receipt_of
from tests.integration.judges import assert_untouched_part_is_true, sha256
from tests.integration.samples import drop
from tests.lifecycle.unreliable import ANSWERED_WELL, WELL, Asked, Treatment, UnreliableServer

EVERYDAY = 300
AT_ONCE = 24
IMAGES = 6
LARGE_IN_EVERY = 8
FRAMES = 16_000
MOST_FOR_ONE = 20  # far beyond chance: an image that is asked for more often is asked for without need
DEADLINES = {"connect": "10s", "read": "2s"}
SETTINGS: dict[str, Any] = {
    "workers": 8,
    "metadata": {"key": None, "timeout": {**DEADLINES, "total": "4s"}},
    "upload": {"key": None, "concurrency": 8, "timeout": {**DEADLINES, "stall": "2s"}},
    "analytics": {"key": None, "timeout": {**DEADLINES, "total": "4s"}},
    "retry": {"first_delay": "50ms", "max_delay": "1s"},
}


@dataclass(frozen=True)
class Figures:
    """What a campaign came to."""

    requests: int
    samples: int
    images: int
    connections: int
    most_for_one_image: int
    seconds: float
    treatments: Counter[str]

    def __str__(self) -> str:
        well = sum(count for name, count in self.treatments.items() if name in ANSWERED_WELL)
        lines = [
            *(f"{count:7}  {name}" for name, count in self.treatments.most_common()),
            f"{self.connections} connections, {self.images} images; {self.requests / self.samples:.1f} requests for a"
            f" sample, at most {self.most_for_one_image} for one image",
            f"fault server: {self.requests} requests, {self.requests - well} of them spoilt, {self.samples} samples,"
            f" all done, in {self.seconds:.0f} s",
        ]
        return "\n".join(lines)


def campaign(root: Path, requests: int, seed: int) -> Figures:
    """Drop samples until there were so many requests, wait until all are done, judge; AssertionError if not right."""
    began = time.monotonic()
    with UnreliableServer(seed, _tls(root)) as server:
        with closing(Daemon(root / "house", {}, _settings(root, server))) as daemon:
            daemon.start()
            originals = _process(daemon, server, root / "originals", requests)
            assert daemon.stop() == 0
            images = _judge(daemon, server, originals)
        asked = server.ledger.asked
        return Figures(
            requests=len(asked),
            samples=len(originals),
            images=images,
            connections=server.connections,
            most_for_one_image=max(Counter(one.about for one in asked if one.api == "instances").values()),
            seconds=time.monotonic() - began,
            treatments=Counter(one.treatment for one in asked),
        )


def _tls(root: Path) -> ssl.SSLContext:
    """The server's side; the daemon's files go to `root`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(root / "ca.pem")
    ours = authority.issue_cert("moichord@lab.example")
    ours.cert_chain_pems[0].write_to_path(root / "client.pem")
    ours.private_key_pem.write_to_path(root / "client.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _settings(root: Path, server: UnreliableServer) -> dict[str, Any]:
    tls = {name: str(root / file) for name, file in TLS_FILES.items()}
    where = {"metadata": "metadata", "upload": "instances", "analytics": "analytics"}
    told = {"tls": tls, "headers": {"X-Sample": "{sample_id}"}}
    blocks = {api: {**SETTINGS[api], **told, "url": server.url(path)} for api, path in where.items()}
    return {**SETTINGS, **blocks}


TLS_FILES = {"ca_file": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}


# Doing


def _process(daemon: Daemon, server: UnreliableServer, originals: Path, requests: int) -> list[Path]:
    """Keep some samples under way until there were enough requests, then let all of them end."""
    dropped: list[Path] = []
    for sample in _samples(originals):
        daemon.wait_for(lambda: len(dropped) - _ended(daemon) < AT_ONCE, "a sample to end", timeout=600)
        if len(server.ledger.asked) >= requests:
            break
        drop(sample, daemon.inbox)
        dropped.append(sample)
    daemon.wait_for(lambda: _ended(daemon) == len(dropped), "all samples to end", timeout=600)
    # A folder is in its place a moment before the state says so.
    daemon.wait_for(lambda: not any(daemon.work.glob("*/*")), "the work folder to be empty")
    return dropped


def _ended(daemon: Daemon) -> int:
    return sum(len(list(folder.iterdir())) for folder in (daemon.done, daemon.failed))


def _samples(folder: Path) -> Iterator[Path]:
    """Samples without end, each of some small images; now and then one is larger than any buffer on the way."""
    for number in itertools.count(1):
        sample = folder / f"S-{number:05d}"
        sample.mkdir(parents=True)
        for image in range(IMAGES):
            is_large = image == 0 and number % LARGE_IN_EVERY == 0
            large = {"NumberOfFrames": FRAMES, "PixelData": bytes(range(256)) * FRAMES}
            # UIDs of one length, the same in every campaign: images are told by their lengths.
            uid = f"2.25.{10**20 + number * IMAGES + image}"
            write_image(sample / f"{image}.dcm", sop_instance_uid=uid, rows=16 + image, **(large if is_large else {}))
        yield sample


# Judging


def _judge(daemon: Daemon, server: UnreliableServer, originals: Sequence[Path]) -> int:
    """How many images the samples had; AssertionError for whatever is not as it should be."""
    assert list(daemon.failed.iterdir()) == []
    assert list(daemon.inbox.iterdir()) == []
    wanted: set[str] = set()
    for original in originals:
        submission = daemon.newest(original.name)
        assert submission is not None
        assert submission.state is State.DONE, f"{original.name}: {submission.reason}"
        wanted |= _sent_of(daemon.done / original.name, original)
    assert sorted(server.ledger.stored.values()) == sorted(wanted), "each image is stored once, and nothing else is"
    for (api, about), asked in _by_subject(server.ledger.asked).items():
        _judge_requests(api, about, asked)
    assert _count(server, "instances") == len(wanted)
    assert _count(server, "metadata") == _count(server, "analytics") == len(originals)
    return len(wanted)


def _sent_of(done: Path, original: Path) -> set[str]:
    """SHA-256 of the images of one sample as they were sent, each compared with what was dropped."""
    images = receipt_of(done)["images"]
    assert [image["path"] for image in images] == sorted(path.name for path in original.iterdir())
    found = set()
    for image in images:
        sent = (done / image["path"]).read_bytes()
        assert image["sha256_sent"] == sha256(sent)
        assert_untouched_part_is_true(image["untouched"], (original / image["path"]).read_bytes(), sent)
        found.add(image["sha256_sent"])
    return found


def _by_subject(asked: Sequence[Asked]) -> dict[tuple[str, str], list[Asked]]:
    found: defaultdict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in asked:
        found[one.api, one.about].append(one)
    return found


def _judge_requests(api: str, about: str, asked: Sequence[Asked]) -> None:
    """A request is repeated only after it was spoilt, and never after it was answered well: the last one was."""
    told = [one.treatment for one in asked]
    assert told[-1] in ANSWERED_WELL, f"{api} {about} ended with: {told}"
    assert not ANSWERED_WELL.intersection(told[:-1]), f"{api} {about} was asked again after an answer: {told}"
    assert len(asked) <= MOST_FOR_ONE, f"{api} {about}: {told}"
    assert len({one.key for one in asked}) == 1, f"{api} {about} changed its key"
    assert len({one.sha256 for one in asked if one.sha256 is not None}) == 1, f"{api} {about} changed on the way"


def _count(server: UnreliableServer, api: str) -> int:
    return len({one.about for one in server.ledger.asked if one.api == api})


def test_every_sample_ends_right_however_its_requests_are_spoilt(tmp_path: Path) -> None:
    figures = campaign(tmp_path, EVERYDAY, seed=4)
    print(figures)
    assert figures.requests >= EVERYDAY
    assert figures.treatments[WELL] < figures.requests


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([WELL, WELL], "asked again"),
        ([Treatment.TWICE, Treatment.RESET, WELL], "asked again"),
        ([Treatment.LOST], "ended with"),
        ([Treatment.RESET] * MOST_FOR_ONE + [WELL], "reset"),
    ],
)
def test_the_judge_sees_requests_that_should_not_have_been(told: list[str], words: str) -> None:
    asked = [Asked("instances", "S-1 10", "key", treatment, "digest") for treatment in told]
    with pytest.raises(AssertionError, match=words):
        _judge_requests("instances", "S-1 10", asked)


def test_the_judge_sees_other_bytes_and_other_keys() -> None:
    first = Asked("instances", "S-1 10", "key", Treatment.LOST, "digest")
    for other in (Asked("instances", "S-1 10", "key", WELL, "?"), Asked("instances", "S-1 10", "?", WELL, "digest")):
        with pytest.raises(AssertionError, match="changed"):
            _judge_requests("instances", "S-1 10", [first, other])


def test_a_certificate_that_nobody_vouches_for_holds_the_sample_until_it_is_mended(tmp_path: Path) -> None:
    tls = _tls(tmp_path)
    trustme.CA().cert_pem.write_to_path(tmp_path / "foreign.pem")
    sample = next(_samples(tmp_path / "originals"))
    with UnreliableServer(0, tls, chances={}) as server:
        settings = _settings(tmp_path, server)
        right = settings["upload"]["tls"]
        foreign = {**right, "ca_file": str(tmp_path / "foreign.pem")}
        settings["upload"] = {**settings["upload"], "tls": foreign}
        with closing(Daemon(tmp_path / "house", {}, settings)) as daemon:
            daemon.start()
            drop(sample, daemon.inbox)
            daemon.wait_until(sample.name, State.WAITING)
            told = daemon.command("status", sample.name).stdout
            assert "TLS certificate" in told
            assert "is not trusted" in told
            assert daemon.stop() == 0
            assert _count(server, "instances") == 0
            daemon.configure({"upload": {"tls": right}})
            daemon.start()
            daemon.wait_until_done(sample.name)
        assert _count(server, "instances") == IMAGES
        assert _count(server, "analytics") == 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=EVERYDAY)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="fault-server-"))
    try:
        print(campaign(root, options.requests, options.seed))
    except AssertionError:
        print(f"the site is kept in {root}")
        raise
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
