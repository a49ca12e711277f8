"""From settings to the parts that a sample's trip needs: clients, the steps' equipment, the retry policy.

Owns the translation of the configuration into each room's own words, for the daemon, the one-shot and `check`;
`watching` has the inbox's part. It must not start anything. Errors: ConfigurationInvalid, from an address or header
that cannot be used at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from moichord.apis.analytics import AnalyticsApi
from moichord.apis.bandwidth import Bandwidth, Line
from moichord.apis.http import Client, Deadlines, Endpoint, Tls
from moichord.apis.metadata import MetadataApi
from moichord.apis.preflight import Preflighted
from moichord.apis.upload import Uploader
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.multipart import MultipartUpload
from moichord.apis.upload.raw import RawUpload
from moichord.apis.upload.stow_rs import StowRsUpload
from moichord.apis.upload.zip import ZipUpload
from moichord.clock import Clock
from moichord.config import Analytics, Metadata, Settings, Upload
from moichord.pipeline.equipment import CallTemplate, Contents, Equipment, OnSent, Patience, TagPolicy
from moichord.pipeline.laying_ahead import LayingAhead
from moichord.pipeline.upload_pool import UploadPool
from moichord.pulse import Pulse
from moichord.retry import Policy
from moichord.sample import Api

Clients = Mapping[Api, Client]


def endpoints(settings: Settings) -> dict[Api, Endpoint]:
    """Every API that is switched on: where it is, how it is asked, how long it may take."""
    found = {
        Api.METADATA: _endpoint(
            Api.METADATA,
            settings.metadata,
            Deadlines(
                connect=settings.metadata.timeout.connect,
                read=settings.metadata.timeout.read,
                total=settings.metadata.timeout.total,
            ),
        ),
        Api.UPLOAD: _endpoint(
            Api.UPLOAD,
            settings.upload,
            Deadlines(
                connect=settings.upload.timeout.connect,
                read=settings.upload.timeout.read,
                stall=settings.upload.timeout.stall,
            ),
        ),
    }
    if settings.analytics.enabled:
        timeout = settings.analytics.timeout
        deadlines = Deadlines(connect=timeout.connect, read=timeout.read, total=timeout.total)
        found[Api.ANALYTICS] = _endpoint(Api.ANALYTICS, settings.analytics, deadlines)
    return found


def list_client(settings: Settings, clock: Clock) -> Client | None:
    """Asks for the list of expected samples, as the metadata API is asked; None if there is no such list."""
    block = settings.metadata
    if block.list_url is None:
        return None
    timeout = block.timeout
    deadlines = Deadlines(connect=timeout.connect, read=timeout.read, total=timeout.total)
    endpoint = _endpoint(Api.METADATA, block, deadlines)
    return Client(replace(endpoint, url=block.list_url, method="GET"), clock=clock, pool_size=1)


def _endpoint(api: Api, block: Metadata | Upload | Analytics, deadlines: Deadlines) -> Endpoint:
    return Endpoint(
        api=api,
        url=block.url or "",
        method=block.method,
        timeout=deadlines,
        headers={} if block.key is None else {block.key_header: block.key.reveal()},
        tls=Tls(*(None if path is None else str(path) for path in _pem_files(block))),
        proxy=block.proxy,
        private=block.private_words(),
    )


def _pem_files(block: Metadata | Upload | Analytics) -> tuple[Path | None, Path | None, Path | None]:
    return block.tls.ca_file, block.tls.client_cert, block.tls.client_key


def clients(settings: Settings, clock: Clock, pulse: Pulse | None = None, line: Line | None = None) -> Clients:
    """One client for each API that is switched on, with a kept connection for each thread that may use it.

    `line` is what uploads share their bandwidth on; clients of other settings may share it too.
    """
    sizes = {
        Api.METADATA: settings.workers,
        Api.UPLOAD: settings.upload.concurrency + 2,
        Api.ANALYTICS: settings.workers,
    }
    limit = settings.upload.bandwidth_limit
    limits = {} if limit is None else {Api.UPLOAD: Bandwidth(limit, line or Line())}
    return {
        api: Client(endpoint, clock=clock, pool_size=sizes[api], pulse=pulse, bandwidth=limits.get(api))
        for api, endpoint in endpoints(settings).items()
    }


def connector(clock: Clock, pulse: Pulse) -> Callable[[Settings], Clients]:
    """Makes `clients` again and again, for settings that change; all of them share one line."""
    line = Line()
    return lambda settings: clients(settings, clock, pulse, line)


def equipment(
    settings: Settings,
    calls: Clients,
    pool: UploadPool,
    look: Callable[[Path], Contents],
    listing: Callable[[Path, tuple[str, ...]], str],
    on_sent: OnSent,
    clock: Clock,
    ahead: LayingAhead | None = None,
) -> Equipment:
    """What the steps work with."""
    analytics = calls.get(Api.ANALYTICS)
    return Equipment(
        metadata=MetadataApi(calls[Api.METADATA]),
        uploader=Preflighted(_uploader(settings.upload, calls[Api.UPLOAD]), calls[Api.UPLOAD]),
        analytics=None if analytics is None else AnalyticsApi(analytics),
        metadata_call=CallTemplate(settings.metadata.body, settings.metadata.headers, settings.metadata.params),
        upload_call=CallTemplate(None, settings.upload.headers, {}, settings.upload.fields),
        analytics_call=CallTemplate(settings.analytics.body, settings.analytics.headers, settings.analytics.params),
        tags=_tag_policy(settings),
        patience=_patience(settings),
        accept_already_stored=settings.upload.already_stored == "accept",
        archive_images=settings.archive.images,
        look=look,
        listing=listing,
        ignored=settings.watch.ignore,
        pool=pool,
        clock=clock,
        on_sent=on_sent,
        ahead=ahead,
    )


def _tag_policy(settings: Settings) -> TagPolicy:
    return TagPolicy(
        rules=settings.tags,
        consistent=settings.dicom.consistent,
        record_changes=settings.dicom.record_changes,
        signed=settings.dicom.signed,
        non_image=settings.dicom.non_image,
    )


def _patience(settings: Settings) -> Patience:
    return Patience(
        settle_time=settings.watch.settle_time,
        incomplete_timeout=settings.watch.incomplete_timeout,
        unknown_sample_grace=settings.metadata.unknown_sample_grace,
    )


def _uploader(upload: Upload, client: Client) -> Uploader:
    success = upload.success
    acceptance = Acceptance(frozenset(success.status), None if success.test is None else success.test.holds)
    match upload.protocol:
        case "raw":
            return RawUpload(client, acceptance, content_type=upload.content_type)
        case "multipart":
            return MultipartUpload(client, acceptance, file_field=upload.file_field)
        case "stow-rs":
            return StowRsUpload(client)
        case "zip":
            return ZipUpload(client, acceptance)


def retry_policy(settings: Settings) -> Policy:
    block = settings.retry
    return Policy(block.first_delay, block.max_delay, block.max_tries, block.give_up_after)
