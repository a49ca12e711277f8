"""The settings of the three APIs: metadata, upload, analytics.

Owns their keys, which say what moichord sends, how long it waits and what it takes for success. It must not know
how a request is made. Errors: pydantic's.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from moichord.config import values as kinds
from moichord.config.block import Block, Impossible, entry
from moichord.templates import Template

KEY = "Its key, as {file: PATH}, {credential: NAME} (of systemd) or {env: NAME}. null: it needs none."
TIMEOUT = "How long a request may take."
TLS = "For https: null is the usual authorities, and no certificate of our own."
SHORTEST = 8
"""What is shorter is no secret, but a word of many a line."""
_STUDIES = re.compile(r"/studies(/[^/]+)?/?$")
_OF_ONE_PROTOCOL = {"content_type": "raw", "fields": "multipart", "file_field": "multipart"}
PROXY = "http://HOST:PORT of a proxy. null: none; the environment's proxies are never used."


class MetadataTimeout(Block):
    """How long a request for metadata may take."""

    INLINE: ClassVar[bool] = True
    connect: kinds.PositiveDuration = entry("10s", "to reach the server")
    read: kinds.PositiveDuration = entry("30s", "between two parts of the answer")
    total: kinds.PositiveDuration = entry("2m", "for all of it")


class UploadTimeout(Block):
    """How long an upload may stand still; it may take as long as it needs."""

    INLINE: ClassVar[bool] = True
    connect: kinds.PositiveDuration = entry("30s", "to reach the server")
    read: kinds.PositiveDuration = entry("5m", "until the answer begins, and between two parts of it")
    stall: kinds.PositiveDuration = entry("2m", "without any byte sent")


class AnalyticsTimeout(Block):
    """How long a request for analytics may take."""

    INLINE: ClassVar[bool] = True
    connect: kinds.PositiveDuration = entry("10s", "to reach the server")
    read: kinds.PositiveDuration = entry("60s", "between two parts of the answer")
    total: kinds.PositiveDuration = entry("5m", "for all of it")


class Tls(Block):
    """Whom to trust and how to identify oneself; null: the usual authorities, no client certificate."""

    INLINE: ClassVar[bool] = True
    ca_file: kinds.ExistingFile | None = entry(None, "certificates of the authorities to trust (PEM)")
    client_cert: kinds.ExistingFile | None = entry(None, "moichord's own certificate (PEM)")
    client_key: kinds.ExistingFile | None = entry(None, "its private key, if it is not in client_cert (PEM)")

    def impossible(self) -> Impossible:
        if self.client_key and not self.client_cert:
            yield ("client_key",), "needs client_cert beside it"


class Call(Block):
    """One API, as far as all three are alike."""

    def private_words(self) -> tuple[str, ...]:
        """What may let somebody in besides the key: parameters, fixed headers and fields, a proxy's password."""
        found: list[str] = []
        for name in ("url", "list_url"):
            found += (value for _, value in parse_qsl(urlsplit(getattr(self, name, None) or "").query))
        for name in ("headers", "params", "fields"):
            texts: Mapping[str, Template] = getattr(self, name, {})
            found += (one.text for one in texts.values() if one.is_fixed)
        password = urlsplit(getattr(self, "proxy", None) or "").password
        found += [] if password is None else [password, unquote(password)]
        return tuple(dict.fromkeys(one for one in found if len(one) >= SHORTEST))


class Metadata(Call):
    """The API that knows what belongs to a sample ID."""

    url: kinds.Url = entry(..., "Its address.", example="${MD_URL}")
    method: Literal["GET", "POST", "PUT"] = entry("GET", "GET, POST or PUT.")
    key: kinds.OptionalSecret = entry({"env": "MD_KEY"}, KEY, hidden=True)
    key_header: kinds.HeaderName = entry("x-api-key", "The header that carries the key.")
    body: kinds.SampleJson = entry(
        {"sample_id": "{sample_id}", "priority": 2},
        "The JSON body; texts are templates with {sample_id}, {attempt_number}, {submission}. null: none.",
        alias="json",
    )
    params: kinds.Params = entry({}, "Parameters added to the address; values are such templates too.")
    headers: kinds.Headers = entry({}, "Further headers; values are such templates too.")
    unknown_sample_grace: kinds.Duration = entry(
        "0s", "How long to keep asking for a sample that it does not know yet, for a late laboratory system."
    )
    list_url: kinds.Url | None = entry(
        None,
        "Where GET, with the same key, gives the list of all samples that are expected, for `moichord reconcile`.",
    )
    list_ids: kinds.OptionalExpression = entry(
        None,
        "A JMESPath into that list's JSON that gives the sample IDs, such as results[].barcode; null: the reply is "
        "a list of them, or of objects with a field sample_id.",
    )
    timeout: MetadataTimeout = entry({}, TIMEOUT)
    tls: Tls = entry({}, TLS)
    proxy: kinds.Proxy | None = entry(None, PROXY, hidden=True)

    def impossible(self) -> Impossible:
        if self.list_ids is not None and self.list_url is None:
            yield ("list_ids",), "does nothing without list_url"
        secure = self.list_url if (self.list_url or "").startswith("https:") else self.url
        yield from _api_problems(secure or self.url, self.key_header, self.headers, self.tls)


class Success(Block):
    """Which answers to an upload are success."""

    INLINE: ClassVar[bool] = True
    status: kinds.SuccessStatuses = entry([200, 201, 202, 204], "accepted statuses")
    test: kinds.OptionalExpression = entry(
        None, "a JMESPath into the JSON reply that must be true; null: not looked at", alias="json"
    )


class Upload(Call):
    """The image server."""

    url: kinds.Url = entry(..., "Its address.", example="${U_URL}")
    protocol: Literal["raw", "multipart", "stow-rs", "zip"] = entry(
        "raw",
        "How images are sent: raw (the file as the body), multipart (as a file in a form), stow-rs (DICOMweb; the "
        "address ends with /studies) or zip (all images of a sample in one request).",
    )
    method: Literal["POST", "PUT"] = entry("POST", "POST or PUT.")
    key: kinds.OptionalSecret = entry({"env": "U_KEY"}, KEY, hidden=True)
    key_header: kinds.HeaderName = entry("Authorization", "The header that carries the key.")
    content_type: kinds.MediaType = entry("application/binary", "raw: what the body is said to be.")
    fields: kinds.Fields = entry(
        {}, "multipart: further fields; values are templates with {sample_id}, {attempt_number}, {submission}."
    )
    file_field: kinds.FieldName = entry("file", "multipart: the field that carries the file.")
    headers: kinds.Headers = entry(
        {}, "Further headers; values are templates with {sample_id}, {attempt_number}, {submission}."
    )
    success: Success = entry({}, "Which answers mean that the image is stored.")
    already_stored: Literal["accept", "fail"] = entry(
        "accept", "When the server had an image before this submission sent it: accept (and note it) or fail."
    )
    concurrency: kinds.Workers = entry(4, "Images sent at once, of all samples together.")
    bandwidth_limit: kinds.PositiveSize | None = entry(
        None, "Bytes per second that all uploads may take together, such as 20MiB; null: no limit."
    )
    timeout: UploadTimeout = entry({}, "An upload may take as long as it moves.")
    tls: Tls = entry({}, TLS)
    proxy: kinds.Proxy | None = entry(None, PROXY, hidden=True)

    def impossible(self) -> Impossible:
        yield from _api_problems(self.url, self.key_header, self.headers, self.tls)
        for name, protocol in _OF_ONE_PROTOCOL.items():
            if self.protocol != protocol and getattr(self, name) != type(self).model_fields[name].default:
                yield (name,), f"belongs to protocol: {protocol}; with protocol: {self.protocol} it does nothing"
        if self.file_field in self.fields:
            yield ("fields", self.file_field), "is the field that carries the file: name it otherwise"
        if self.protocol == "stow-rs":
            yield from self._contradicting_stow_rs()

    def _contradicting_stow_rs(self) -> Impossible:
        if not _STUDIES.search(urlsplit(self.url).path):
            yield ("url",), "must end with /studies, where STOW-RS stores"
        if self.method != "POST":
            yield ("method",), "must be POST with protocol: stow-rs"
        if self.success != Success():
            yield ("success",), "does nothing with protocol: stow-rs, where the server's answer names each stored image"


class Analytics(Call):
    """The API that is triggered once all images of a sample are stored."""

    enabled: bool = entry(True, "false: the sample is done when its images are stored.")
    url: kinds.Url | None = entry(None, "Its address.", example="${A_URL}")
    method: Literal["GET", "POST", "PUT"] = entry("GET", "GET, POST or PUT.")
    key: kinds.OptionalSecret = entry({"env": "A_KEY"}, KEY, hidden=True)
    key_header: kinds.HeaderName = entry("x-api-key", "The header that carries the key.")
    body: kinds.ReplyJson = entry(
        {"sample_id": "{sample_id}", "request_type": "{metadata[test_type]}"},
        "The JSON body; its templates may use {metadata[FIELD]} too. null: none.",
        alias="json",
    )
    params: kinds.Params = entry(
        {},
        "Parameters added to the address; values are templates with {sample_id}, {attempt_number}, {submission}.",
    )
    headers: kinds.Headers = entry({}, "Further headers; values are such templates too.")
    timeout: AnalyticsTimeout = entry({}, TIMEOUT)
    tls: Tls = entry({}, TLS)
    proxy: kinds.Proxy | None = entry(None, PROXY, hidden=True)

    def impossible(self) -> Impossible:
        if self.enabled and self.url is None:
            yield ("url",), "is missing; without such an API write enabled: false"
        elif self.url is not None:
            yield from _api_problems(self.url, self.key_header, self.headers, self.tls)


def _api_problems(url: str, key_header: str, headers: Mapping[str, Template], tls: Tls) -> Impossible:
    for name in headers:
        if name.lower() == key_header.lower():
            yield ("headers", name), "is the header that carries the key: configure it as key"
    if url.startswith("http://") and tls != Tls():
        yield ("tls",), "is of no use: url begins with http://, not https://"
