"""How it stands, for Prometheus: the text that is served at /metrics.

Owns the names and units: `moichord_*`, base units (seconds, bytes), labels with few fixed values only; never a sample's
name. It must not know HTTP, nor where the numbers come from. Pure; no error leaves it.

Source: the text format and the naming rules of prometheus.io/docs. Shipped alert rules and a Grafana dashboard use
these names (`systemd/`); a test compares them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from moichord import __version__
from moichord.outage import held_api
from moichord.sample import Api, State
from moichord.status.standing import Disk, Standing

CONTENT_TYPE = CONTENT_TYPE_LATEST
FINISHED = (State.DONE, State.FAILED, State.CANCELLED)
IN_WORK = (State.READY, State.PROCESSING, State.WAITING)
WAITS_FOR = (*(str(api) for api in Api), "disk", "settling", "record", "retry", "other")
_HELD = {"disk": "disk", "settling": "settling", "metadata record": "record"}


def render(standing: Standing, disks: Iterable[Disk] = ()) -> bytes:
    """All metrics at this moment, as the body of an answer of the type CONTENT_TYPE."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Moment([*_about_samples(standing), *_about_servers(standing), *_about_disks(disks)]))
    return generate_latest(registry)


class _Moment(Collector):
    """Metrics that were gathered already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _about_samples(standing: Standing) -> Iterator[Metric]:
    overview = standing.overview
    yield _labelled("info", "moichord itself; always 1.", {"version": {__version__: 1.0}})
    yield _gauge("paused", "1 while everything is paused.", overview.paused_at is not None)
    in_work = {str(state): overview.counts.get(state, 0) for state in IN_WORK}
    arriving = {str(State.RECEIVING): len(standing.arriving)}
    yield _labelled("samples", "Samples on their way, by state.", {"state": arriving | in_work})
    remembered = {str(state): overview.counts.get(state, 0) for state in FINISHED}
    yield _labelled(
        "ended_submissions", "Submissions that ended and that the state remembers, by outcome.", {"outcome": remembered}
    )
    waiting: Counter[str] = Counter()
    for some in overview.groups:
        if some.state is State.WAITING:
            waiting[_waits_for(some.held_by)] += some.number
    reasons = {reason: waiting[reason] for reason in WAITS_FOR}
    yield _labelled("waiting_samples", "Samples that wait, by what for.", {"reason": reasons})
    yield _gauge("attention_samples", "Failed samples that lie in failed and need somebody.", len(standing.attention))
    yield _gauge("misnamed_folders", "Folders of the inbox whose name is not a sample ID.", len(standing.misnamed))
    yield _gauge("notices", "Things that ail the daemon as a whole.", len(overview.notices))
    yield from _about_times(standing)
    yield from _about_bytes(standing)


def _about_times(standing: Standing) -> Iterator[Metric]:
    overview = standing.overview
    oldest = min((some.oldest for some in overview.groups), default=standing.at)
    yield _gauge("oldest_sample_seconds", "Time since the oldest sample in work was taken.", standing.at - oldest)
    known = [*(some.newest for some in overview.groups), *(one.taken_at for one in overview.recent)]
    if known:
        taken = max(known)
        yield _gauge("last_taken_timestamp_seconds", "When a sample was taken last.", taken)
    ended = [one.finished_at for one in overview.recent if one.state is State.DONE and one.finished_at is not None]
    if ended:
        yield _gauge("last_done_timestamp_seconds", "When a sample was done last.", max(ended))


def _about_bytes(standing: Standing) -> Iterator[Metric]:
    left = "Bytes of samples in work that the image server does not have yet."
    yield _gauge("queue_bytes", left, standing.bytes_left)
    yield _gauge("sending_bytes", "Bytes of requests in flight that were sent.", sum(standing.sending.values()))


def _about_servers(standing: Standing) -> Iterator[Metric]:
    circuits = {one.api: one for one in standing.overview.circuits}
    up = {str(api): float(api not in circuits or not circuits[api].is_open) for api in Api}
    yield _labelled("api_up", "1 unless nobody is sent to this API because it fails everybody.", {"api": up})
    began = {str(api): circuits[api].open_since if api in circuits else None for api in Api}
    since = {api: 0.0 if at is None else max(0.0, standing.at - at) for api, at in began.items()}
    yield _labelled("api_outage_seconds", "How long an API has failed everybody.", {"api": since})
    answers = CounterMetricFamily("moichord_api_answers", "Requests that an API answered well.", labels=["api"])
    for api in Api:
        answers.add_metric([str(api)], circuits[api].successes if api in circuits else 0)
    yield answers


def _about_disks(disks: Iterable[Disk]) -> Iterator[Metric]:
    known = [(folder, disk) for disk in disks for folder in disk.folders]
    free = {folder: float(disk.free) for folder, disk in known}
    yield _labelled("disk_free_bytes", "Free space of the file system of a folder.", {"folder": free})
    whole = {folder: float(disk.size) for folder, disk in known}
    yield _labelled("disk_size_bytes", "Size of the file system of a folder.", {"folder": whole})


def _waits_for(held_by: str | None) -> str:
    if held_by is None:
        return "retry"
    api = held_api(held_by)
    return _HELD.get(held_by.partition(":")[0], "other") if api is None else str(api)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"moichord_{name}", text, value=float(value))


def _labelled(name: str, text: str, values: Mapping[str, Mapping[str, float]]) -> Metric:
    ((label, by_value),) = values.items()
    metric = GaugeMetricFamily(f"moichord_{name}", text, labels=[label])
    for value, number in by_value.items():
        metric.add_metric([value], float(number))
    return metric
