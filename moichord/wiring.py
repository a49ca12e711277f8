"""From settings to the parts that they describe: clients, rules, the steps' equipment.

Owns the translation of the configuration into each room's own words, for the daemon, the one-shot and `check`. It
must not start anything. Errors: ConfigurationInvalid, from an address or header that cannot be used at all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moichord.apis.analytics import AnalyticsApi
from moichord.apis.http import Client, Deadlines, Endpoint, Tls
from moichord.apis.metadata import MetadataApi
from moichord.apis.upload.acceptance import Acceptance
from moichord.apis.upload.raw import RawUpload
from moichord.clock import Clock
from moichord.config import Analytics, Metadata, Settings, Upload
from moichord.dicom import DicomError, Incomplete, PositionedFile, inspect
from moichord.inbox.seen import FolderSeen, Inspection, Verdict, WatchRules
from moichord.inbox.settling import SettleRule
from moichord.pipeline.equipment import CallTemplate, Contents, Equipment, OnSent, Patience, TagPolicy
from moichord.pipeline.upload_pool import UploadPool
from moichord.retry import Policy
from moichord.sample import Api

if TYPE_CHECKING:
    # Not loaded for the one-shot, which needs neither the inbox nor the queue (SQLAlchemy, POSIX calls).
    from moichord.inbox.intake import IntakeRules
    from moichord.inbox.scanner import Scanner

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


def _endpoint(api: Api, block: Metadata | Upload | Analytics, deadlines: Deadlines) -> Endpoint:
    return Endpoint(
        api=api,
        url=block.url or "",
        method=block.method,
        timeout=deadlines,
        headers={} if block.key is None else {block.key_header: block.key.reveal()},
        tls=Tls(*(None if path is None else str(path) for path in _pem_files(block))),
        proxy=block.proxy,
    )


def _pem_files(block: Metadata | Upload | Analytics) -> tuple[Path | None, Path | None, Path | None]:
    return block.tls.ca_file, block.tls.client_cert, block.tls.client_key


def clients(settings: Settings, clock: Clock) -> Clients:
    """One client for each API that is switched on, with a kept connection for each thread that may use it."""
    sizes = {
        Api.METADATA: settings.workers,
        Api.UPLOAD: settings.upload.concurrency + 2,
        Api.ANALYTICS: settings.workers,
    }
    return {api: Client(endpoint, clock=clock, pool_size=sizes[api]) for api, endpoint in endpoints(settings).items()}


def equipment(
    settings: Settings,
    calls: Clients,
    pool: UploadPool,
    look: Callable[[Path], Contents],
    on_sent: OnSent,
    clock: Clock,
) -> Equipment:
    """What the steps work with."""
    analytics = calls.get(Api.ANALYTICS)
    success = settings.upload.success
    acceptance = Acceptance(frozenset(success.status), None if success.test is None else success.test.holds)
    return Equipment(
        metadata=MetadataApi(calls[Api.METADATA]),
        uploader=RawUpload(calls[Api.UPLOAD], acceptance, content_type=settings.upload.content_type),
        analytics=None if analytics is None else AnalyticsApi(analytics),
        metadata_call=CallTemplate(settings.metadata.body, settings.metadata.headers, settings.metadata.params),
        upload_call=CallTemplate(None, settings.upload.headers, {}),
        analytics_call=CallTemplate(settings.analytics.body, settings.analytics.headers, settings.analytics.params),
        tags=TagPolicy(
            rules=settings.tags,
            consistent=settings.dicom.consistent,
            record_changes=settings.dicom.record_changes,
            signed=settings.dicom.signed,
            non_image=settings.dicom.non_image,
        ),
        patience=Patience(
            settle_time=settings.watch.settle_time,
            incomplete_timeout=settings.watch.incomplete_timeout,
            unknown_sample_grace=settings.metadata.unknown_sample_grace,
        ),
        accept_already_stored=settings.upload.already_stored == "accept",
        archive_images=settings.archive.images,
        look=look,
        pool=pool,
        clock=clock,
        on_sent=on_sent,
    )


def retry_policy(settings: Settings) -> Policy:
    block = settings.retry
    return Policy(block.first_delay, block.max_delay, block.max_tries, block.give_up_after)


def intake_rules(settings: Settings) -> "IntakeRules":
    from moichord.inbox.intake import IntakeRules

    watch = settings.watch
    settle = SettleRule(
        settle_time=watch.settle_time,
        incomplete_timeout=watch.incomplete_timeout,
        ready_marker=watch.ready_marker,
    )
    return IntakeRules(watch.sample_id, settle, watch.scan_interval)


def scanner(settings: Settings) -> "Scanner":
    from moichord.inbox.intake import sample_id_of
    from moichord.inbox.scanner import Scanner

    watch = settings.watch

    def is_sample_id(folder_name: str) -> bool:
        return sample_id_of(folder_name, watch.sample_id) is not None

    rules = WatchRules(
        images=watch.images,
        ignore=watch.ignore,
        temporary=watch.temporary,
        ready_marker=watch.ready_marker,
        mount_marker=watch.mount_marker,
        max_files=watch.limits.files,
        max_depth=watch.limits.depth,
    )
    return Scanner(settings.folders.inbox, rules, inspect_image, is_sample_id)


def inspect_image(file: BinaryIO) -> Inspection:
    """The scanner's question about an image, asked of the `dicom` room."""
    try:
        inspect(PositionedFile(file))
    except Incomplete as error:
        return Inspection(Verdict.MAY_BECOME_COMPLETE, str(error))
    except DicomError as error:
        return Inspection(Verdict.NEVER, str(error))
    return Inspection(Verdict.COMPLETE)


def contents_of(seen: FolderSeen) -> Contents:
    """What a scan of one folder means to the steps."""
    return Contents(
        manifest=seen.manifest,
        images=tuple(sorted(file.path for file in seen.images)),
        unfinished=tuple((file.path, file.problem or "incomplete") for file in seen.waiting_for),
        unusable=seen.doomed if seen.unreadable is None else (*seen.doomed, seen.unreadable),
    )
