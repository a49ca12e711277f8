"""What the three stand-in endpoints answer to a request that has arrived whole and that no fault spoils.

Owns the semantics: keys, the metadata reply, Orthanc's POST /instances, the analytics trigger. It must not know
sockets or faults. No error leaves it: whatever is wrong with a request is its answer.

Models: the existing Moichor APIs (CONTRACT "The calls it makes") and Orthanc 1.10.1, whose answers were recorded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moichord.sample import Api
from moichord.sandbox.catalogue import invented
from moichord.sandbox.instances import Instances, NotDicom, read_identity
from moichord.sandbox.received import Received, names_sample

PATHS = {"/metadata": Api.METADATA, "/instances": Api.UPLOAD, "/analytics": Api.ANALYTICS}
KEY_HEADERS = {Api.METADATA: "x-api-key", Api.UPLOAD: "authorization", Api.ANALYTICS: "x-api-key"}
METHODS = {Api.METADATA: "GET", Api.UPLOAD: "POST", Api.ANALYTICS: "GET"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, JSON body (None: empty body) and further headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body, indent=2).encode()


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: its first bytes (all of a JSON one), and the file it was spooled to, if files are kept."""

    beginning: bytes
    file: Path | None = None


class Endpoints:
    """The stand-in APIs without the network. `records` maps a sample ID to the metadata reply; it may be changed."""

    def __init__(
        self, keys: Mapping[Api, str], records: dict[str, Any], instances: Instances, *, any_sample: bool
    ) -> None:
        self.keys = dict(keys)
        self.records = records
        self.instances = instances
        self.any_sample = any_sample

    def understood(self, received: Received, body: Body) -> Received:
        """The record of a request, completed by what its body says."""
        if received.method == "OPTIONS" or not received.complete:
            return received
        if received.api is not Api.UPLOAD:
            return replace(received, json=_parsed(body.beginning))
        try:
            identity = read_identity(body.beginning)
        except NotDicom:
            return received
        return replace(received, sop_instance_uid=identity.sop_instance_uid, patient_id=identity.patient_id or None)

    def answer(self, received: Received, body: Body) -> Answer:
        """Carry a request out and say what to answer."""
        if not received.authorized:
            return _unauthorized(received.api)
        if received.method == "OPTIONS":
            return self._probe(received.api)
        if received.method != METHODS[received.api]:
            return Answer(405, headers={"Allow": f"{METHODS[received.api]},OPTIONS"})
        match received.api:
            case Api.METADATA:
                return self._metadata(received)
            case Api.UPLOAD:
                return self._instances(received, body)
            case Api.ANALYTICS:
                return self._analytics(received)

    def _probe(self, api: Api) -> Answer:
        """Orthanc knows no OPTIONS on /instances and says 404; the other two say what they allow."""
        if api is Api.UPLOAD:
            return Answer(404)
        return Answer(204, headers={"Allow": f"{METHODS[api]},OPTIONS"})

    def _metadata(self, received: Received) -> Answer:
        sample_id = received.sample_id
        if sample_id is None:
            return Answer(400, {"error": "the body must be a JSON object with sample_id"})
        if sample_id in self.records:
            return Answer(200, self.records[sample_id])
        if self.any_sample:
            return Answer(200, invented(sample_id).reply())
        return Answer(404, {"error": "no such sample"})

    def _instances(self, received: Received, body: Body) -> Answer:
        try:
            identity = read_identity(body.beginning)
        except NotDicom as problem:
            return _bad_file(str(problem) if received.length else "Received an empty DICOM file")
        stored = self.instances.store(identity, received.length, received.sha256, body.file)
        return Answer(200, identity.reply(stored))

    def _analytics(self, received: Received) -> Answer:
        body = received.json if isinstance(received.json, dict) else {}
        missing = [name for name in ("sample_id", "request_type") if not body.get(name)]
        if missing:
            return Answer(400, {"error": f"missing in the body: {', '.join(missing)}"})
        images = sum(1 for i in self.instances if names_sample(i.identity.patient_id, str(body["sample_id"])))
        return Answer(200, {"status": "queued", "sample_id": body["sample_id"], "images": images})


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _unauthorized(api: Api) -> Answer:
    if api is Api.UPLOAD:
        return Answer(401, headers={"WWW-Authenticate": 'Basic realm="Orthanc Secure Area"'})
    return Answer(401, {"error": "the x-api-key is missing or wrong"})


def _bad_file(details: str) -> Answer:
    """Orthanc's answer to a body that is no DICOM file."""
    return Answer(
        400,
        {
            "Details": details,
            "HttpError": "Bad Request",
            "HttpStatus": 400,
            "Message": "Bad file format",
            "Method": "POST",
            "OrthancError": "Bad file format",
            "OrthancStatus": 15,
            "Uri": "/instances",
        },
    )
