"""Would the three servers serve us? Asked without causing work.

Metadata is asked for a reserved sample ID, which no server should know; upload and analytics get OPTIONS. Owns these
requests and what their answers say. It must not know samples. ConfigurationInvalid leaves it, from `wiring`.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from moichord import wiring
from moichord.apis.answers import SERVER, failure_of_status
from moichord.apis.http import Client
from moichord.apis.metadata import MetadataApi
from moichord.apis.preflight import ask
from moichord.apis.replies import NotJson, parse
from moichord.checks.finding import Finding, failed, ok, warning
from moichord.clock import Clock
from moichord.config import Settings
from moichord.errors import ApiFailure, ApiTransient, SampleUnknown
from moichord.pipeline.equipment import CallTemplate
from moichord.sample import Api

RESERVED_SAMPLE_ID = "moichord-check"
MISSING = frozenset({404, 410})
NAMES: Mapping[str, object] = {
    "sample_id": RESERVED_SAMPLE_ID,
    "attempt_number": 1,
    "submission": "00000000-0000-0000-0000-000000000000",
}


def check_servers(settings: Settings, clock: Clock) -> list[Finding]:
    """One finding for each API that is switched on; they are asked at the same time."""
    clients = wiring.clients(settings, clock)
    asked: dict[Api, Callable[[Client], Finding]] = {
        Api.METADATA: lambda client: _metadata(client, settings),
        Api.UPLOAD: lambda client: _reachable(client, CallTemplate(None, settings.upload.headers, {})),
        Api.ANALYTICS: lambda client: _reachable(
            client, CallTemplate(None, settings.analytics.headers, settings.analytics.params)
        ),
    }
    try:
        with ThreadPoolExecutor(len(asked), thread_name_prefix="check") as threads:
            findings = list(threads.map(lambda api: asked[api](clients[api]), clients))
    finally:
        for client in clients.values():
            client.close()
    if not settings.analytics.enabled:
        findings.append(ok(str(Api.ANALYTICS), "Switched off: a sample is done when its images are stored."))
    return findings


def _metadata(client: Client, settings: Settings) -> Finding:
    block = settings.metadata
    call = CallTemplate(block.body, block.headers, block.params).render(NAMES)
    name, server = str(Api.METADATA), SERVER[Api.METADATA]
    try:
        MetadataApi(client).fetch(RESERVED_SAMPLE_ID, call.body, headers=call.headers, params=call.params)
    except SampleUnknown as unknown:
        if unknown.status == 404 and not _is_json(unknown.detail):
            return warning(
                name,
                f"{server} is reachable, but this may not be the metadata API: its 404 is not in JSON.",
                "Compare metadata.url with what that server's own description says: a wrong address is answered 404 "
                "too, and then every sample fails as unknown.",
            )
        return ok(
            name,
            f"{server} took the key, and does not know the sample {RESERVED_SAMPLE_ID}, as it should be.",
        )
    except ApiFailure as failure:
        return _failed(name, failure)
    return warning(
        name,
        f"{server} took the key, but has a record of the sample {RESERVED_SAMPLE_ID}, which nobody should have.",
        "See that it answers 404 for samples that it does not know; otherwise a mistyped name is never noticed.",
    )


def _reachable(client: Client, template: CallTemplate) -> Finding:
    api = client.endpoint.api
    call = template.render(NAMES)
    try:
        answer = ask(client, call.headers, call.params)
    except ApiFailure as failure:
        return _failed(str(api), failure)
    status = answer.status
    reached = f"{SERVER[api]} is reachable, credentials unproven (it answers OPTIONS with {status})"
    if 300 <= status < 400 or status >= 500:
        said = failure_of_status(api, status, answer.headers, now=client.clock.now())
        return warning(str(api), f"{reached}. {said.problem}", _remedy(said))
    doubtful = f"{api}.url is right and the key is taken" if status in MISSING else "the key is taken"
    return ok(str(api), f"{reached}: whether {doubtful}, only a real request can tell.")


def _is_json(quoted: str | None) -> bool:
    """Whether a reply of which this is the beginning may be JSON; an empty one is no sign against it."""
    if quoted is None or quoted.startswith(("{", "[")):
        return True
    try:
        parse(quoted.encode())
    except NotJson:
        return False
    return True


def _failed(name: str, failure: ApiFailure) -> Finding:
    wrote = f" It wrote: {failure.detail}" if failure.detail else ""
    return failed(name, failure.problem + wrote, _remedy(failure))


def _remedy(failure: ApiFailure) -> str:
    if isinstance(failure, ApiTransient):
        return f"See whether that server runs, and check {failure.api}.url; no sample fails for this, it waits."
    return failure.remedy or f"Check {failure.api}.url."
