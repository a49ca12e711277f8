"""The configuration as an administrator writes it, and what is said about mistakes."""

from pathlib import Path

import pytest

from moichord.config import Settings, from_environment, load, load_whereabouts, read
from moichord.config.example import example
from moichord.errors import ConfigurationInvalid

ENVIRON = {
    "MD_URL": "https://lab.example/metadata",
    "MD_KEY": "metadata-key",
    "U_URL": "http://127.0.0.1:8042/instances",
    "U_KEY": "upload-key",
    "A_URL": "https://lab.example/analytics",
    "A_KEY": "analytics-key",
}
APIS = "metadata: {url: '${MD_URL}'}\nupload: {url: '${U_URL}'}\nanalytics: {url: '${A_URL}'}\n"
BEFORE = APIS.count("\n")


def settings(text: str = "", environ: dict[str, str] | None = None) -> Settings:
    return read(APIS + text, "m.yaml", environ or ENVIRON)


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationInvalid) as refused:
        read(text, "m.yaml", ENVIRON if environ is None else environ)
    return refused.value.problems


def problem(text: str) -> str:
    """The only problem of a text beside the three addresses, without the file's name; lines count from that text."""
    (only,) = problems(APIS + text)
    _, line, rest = only.split(":", 2)
    return f"{int(line) - BEFORE}:{rest}"


def test_three_addresses_are_enough_and_all_else_has_the_contracts_defaults() -> None:
    made = settings()
    assert made.folders.inbox == Path("/srv/moichord/inbox")
    assert made.folders.work == Path("/srv/moichord/work")
    assert made.state == Path("/var/lib/moichord/state.db")
    assert (made.watch.scan_interval, made.watch.settle_time, made.watch.incomplete_timeout) == (10.0, 60.0, 86400.0)
    assert made.watch.limits.files == 20000
    assert made.metadata.url == "https://lab.example/metadata"
    assert made.metadata.key is not None
    assert made.metadata.key.reveal() == "metadata-key"
    assert (made.metadata.timeout.total, made.analytics.timeout.total, made.upload.timeout.stall) == (120, 300, 120)
    assert made.upload.success.status == (200, 201, 202, 204)
    assert (made.retry.max_tries, made.retry.give_up_after) == (20, 3 * 86400.0)
    assert [rule.attribute.keyword for rule in made.tags] == [
        "PatientName",
        "PatientSpeciesDescription",
        "BarcodeValue",
        "InstitutionName",
        "PatientID",
    ]
    values = {"sample_id": "A1", "attempt_number": 1, "submission": "0e4e", "metadata": {"test_type": "blood"}}
    assert made.metadata.body is not None
    assert made.metadata.body.render(values) == {"sample_id": "A1", "priority": 2}
    assert made.analytics.body is not None
    assert made.analytics.body.render(values) == {"sample_id": "A1", "request_type": "blood"}


def test_five_mistakes_are_told_at_once_each_with_its_place() -> None:
    text = (
        "wach: {}\n"
        "watch:\n"
        "  settle_time: -5s\n"
        "  scan_interval: 10\n"
        "  scan_interval: 11s\n"
        "upload: {url: 'ftp://x', concurrency: many}\n"
        "metadata: {url: '${NOWHERE}'}\n"
        "analytics: {url: '${A_URL}'}\n"
    )
    assert problems(text) == [
        "m.yaml:1:1: wach: is not a known key; did you mean watch?",
        "m.yaml:3:16: watch.settle_time: must not be negative, but '-5s' is",
        "m.yaml:4:18: watch.scan_interval: must be a duration such as 500ms, 10s, 5m, 2h or 30d, not 10",
        "m.yaml:5:3: watch.scan_interval: is written twice, first in line 4",
        "m.yaml:6:15: upload.url: must be an address that begins with http:// or https:// and a host",
        "m.yaml:6:39: upload.concurrency: must be a whole number, not 'many'",
        "m.yaml:7:17: metadata.url: environment variable NOWHERE is not set",
    ]


def test_missing_addresses_are_told_where_their_block_stands() -> None:
    assert problems("version: 1\nupload:\n  method: PUT\n") == [
        "m.yaml:1:1: metadata.url: is missing",
        "m.yaml:1:1: analytics.url: is missing; without such an API write enabled: false",
        "m.yaml:2:1: upload.url: is missing",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 2", "1:10: version: must be 1, not 2"),
        ("workers: '4'", "1:10: workers: must be a whole number, not '4'"),
        ("workers: 0", "1:10: workers: must be at least 1, not 0"),
        ("workers: true", "1:10: workers: must be a whole number, not true"),
        ("dicom: {record_changes: yes}", "1:25: dicom.record_changes: must be true or false, not 'yes'"),
        ("dicom: {consistent: [Nope]}", "1:22: dicom.consistent[0]: Nope is not a keyword of the DICOM dictionary"),
        ("watch: [a]", "1:8: watch: must be a block of keys, not a list"),
        ("watch: null", "1:8: watch: must be a block of keys, not null"),
        ("watch: {images: '*.dcm'}", "1:17: watch.images: must be a list such as [a, b], not '*.dcm'"),
        ("watch: {ignore: [a/b]}", "1:18: watch.ignore[0]: must be a file name or a pattern of file names"),
        ("watch: {sample_id: '('}", "1:20: watch.sample_id: is not a regular expression: missing )"),
        ("watch: {sample_id: '.*'}", "1:20: watch.sample_id: must contain the group (?P<sample_id>...)"),
        ("watch: {limits: {files: 0}}", "1:25: watch.limits.files: must be at least 1, not 0"),
        ("watch: {min_free_space: 5}", "1:25: watch.min_free_space: must be a size such as 512B"),
        ("watch: {incomplete_timeout: 30s}", "1:29: watch.incomplete_timeout: must be longer than settle_time"),
        (
            "watch: {ready_marker: THUMBS.db}",
            "1:23: watch.ready_marker: would never be seen: ignore contains Thumbs.db",
        ),
        ("watch: {scan_interval: 0s}", "1:24: watch.scan_interval: must be more than nothing"),
        pytest.param(
            f"watch: {{sample_id: '(?P<sample_id>{'(' * 900}{')' * 900})'}}",
            "1:20: watch.sample_id: is a regular expression that is nested too deeply",
            id="depth of a regular expression",
        ),
        pytest.param(
            f"tags: {{PatientName: '{'!' * 3000}a'}}",
            "1:21: tags.PatientName: is nested too deeply",
            id="depth of a JMESPath",
        ),
        ('logging: {file: "/tmp/a\\0b"}', "1:17: logging.file: contains a NUL, which no file name can contain"),
        ('folders: {inbox: "/a\\0b"}', "1:18: folders.inbox: contains a NUL, which no file name can contain"),
        ('watch: {mount_marker: "a\\0b"}', "1:23: watch.mount_marker: contains a NUL, which no file name can contain"),
        ('watch: {mount_marker: "\\ud800"}', "1:23: watch.mount_marker: contains what no file name can contain"),
        ("folders: {inbox: inbox}", "1:18: folders.inbox: must be a full path, beginning with /, not 'inbox'"),
        ("folders: {done: /srv/moichord/inbox/x/../d}", "1:17: folders.done: /srv/moichord/inbox/d lies inside inbox"),
        ("folders: {work: /srv/moichord/inbox}", "1:17: folders.work: /srv/moichord/inbox is the same as inbox"),
        ("folders: {failed: /srv}", "1:19: folders.failed: /srv contains inbox"),
        ("state: state.db", "1:8: state: must be a full path"),
        ("state: postgresql://host/db", "1:8: state: must be a path on a local disk; other databases are not"),
        ("state: /srv/moichord/work/state.db", "1:8: state: must not lie in work"),
        ("retry: {first_delay: 1h}", "1:22: retry.first_delay: must not be longer than max_delay"),
        ("retry: {max_tries: 0}", "1:20: retry.max_tries: must be at least 1, not 0"),
        ("logging: {level: chatty}", "1:18: logging.level: must be debug, info, warning or error, not 'chatty'"),
        ("tags: {PatientNam: x}", "1:20: tags.PatientNam: PatientNam is not a keyword of the DICOM dictionary; did"),
        ("tags: {PatientID: {template: '{who}'}}", "1:30: tags.PatientID.template: {who} is not known here"),
        ("dicom: {consistent: [PixelData]}", "1:22: dicom.consistent[0]: PixelData has no text that could be compared"),
        ("tags: x", "1:7: tags: must be a block of DICOM keywords"),
        ("archive: {retention: {done: 400d}}", "1:11: archive.retention.history: must not be shorter than done"),
        ("archive: {retention: {failed: 2d, history: 1d}}", "1:44: archive.retention.history: must not be shorter"),
        ("archive: {retention: {done: 0d}}", "1:29: archive.retention.done: must be more than nothing"),
        ("elephant: {}", "1:1: elephant: is not a known key"),
    ],
)
def test_a_mistake_is_told_with_place_key_and_reason(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("url: 'http://'", "upload.url: must be an address that begins with http:// or https:// and a host"),
        ("url: 'http://u:p@host'", "upload.url: must not contain a user or password"),
        ("url: 'http://host/#x'", "upload.url: must not contain a fragment"),
        ("url: 'http://host/{sample_id}'", "upload.url: must not contain { or }"),
        ("url: 'http://host:99999'", "upload.url: must be an address that begins with http:// or https://: Port"),
        ("url: 'http://ho st'", "upload.url: must be an address"),
        ("url: 'http://h', protocol: ftp", "upload.protocol: must be raw, multipart, stow-rs or zip, not 'ftp'"),
        (
            "url: 'http://h', protocol: multipart, content_type: application/dicom",
            "upload.content_type: belongs to protocol: raw; with protocol: multipart it does nothing",
        ),
        ("url: 'http://h', fields: {sample: x}", "upload.fields: belongs to protocol: multipart; with protocol: raw"),
        ("url: 'http://h', protocol: zip, file_field: image", "upload.file_field: belongs to protocol: multipart"),
        ("url: 'http://h', file_field: ''", "upload.file_field: must be the name of a form's field, not ''"),
        (
            "url: 'http://h', protocol: multipart, fields: {file: x}",
            "upload.fields.file: is the field that carries the file",
        ),
        ("url: 'http://h', protocol: multipart, fields: {a: '{who}'}", "upload.fields.a: {who} is not known here"),
        ("url: 'http://h/dicom-web', protocol: stow-rs", "upload.url: must end with /studies"),
        ("url: 'http://h/studies', protocol: stow-rs, method: PUT", "upload.method: must be POST with protocol"),
        (
            "url: 'http://h/studies', protocol: stow-rs, success: {status: [200]}",
            "upload.success: does nothing with protocol: stow-rs",
        ),
        ("url: 'http://h', method: DELETE", "upload.method: must be POST or PUT, not 'DELETE'"),
        ("url: 'http://h', key: hunter2", "upload.key: a secret is not written here, but named: {file: PATH}"),
        ("url: 'http://h', key_header: 'a b'", "upload.key_header: must be the name of a header, not 'a b'"),
        ("url: 'http://h', headers: {Host: x}", "upload.headers.Host: the header Host is made by moichord itself"),
        (
            "url: 'http://h', headers: {authorization: x}",
            "upload.headers.authorization: is the header that carries the",
        ),
        ("url: 'http://h', headers: {X: true}", "upload.headers.X: must be a text, not true"),
        ('url: "http://h", headers: {X: "a\\nb"}', "upload.headers.X: must be one line without control characters"),
        ("url: 'http://h', headers: {X: '{metadata[a]}'}", "upload.headers.X: {metadata[a]} is not known here"),
        ("url: 'http://h', content_type: ''", "upload.content_type: must be a media type"),
        ("url: 'http://h', success: {status: [404]}", "upload.success.status[0]: must be a status from 200 to 299"),
        ("url: 'http://h', success: {status: []}", "upload.success.status: must not be empty"),
        ("url: 'http://h', success: {json: 5}", "upload.success.json: must be a JMESPath in quotes, not 5"),
        ("url: 'http://h', proxy: 'socks5://h'", "upload.proxy: must be an address that begins with http://"),
        ("url: 'https://h', tls: {ca_file: /nowhere.pem}", "upload.tls.ca_file: /nowhere.pem does not exist"),
        (
            "url: 'https://h', tls: {client_key: /dev/null}",
            "upload.tls.client_key: /dev/null does not exist, or is not",
        ),
        ("url: 'http://h', bandwidth_limit: 0MiB", "upload.bandwidth_limit: must be more than nothing"),
        ("url: 'http://h', bandwidth_limit: 20", "upload.bandwidth_limit: must be a size such as"),
    ],
)
def test_a_mistake_in_an_api_is_told(block: str, expected: str) -> None:
    text = f"metadata: {{url: 'http://h'}}\nanalytics: {{url: 'http://h'}}\nupload: {{{block}}}\n"
    (only,) = problems(text)
    assert only.split(": ", 1)[1].startswith(expected)
    assert "hunter2" not in only


def test_a_client_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("x")
    text = APIS.replace("'${U_URL}'", f"'https://h', tls: {{client_key: {key}}}")
    (only,) = problems(text)
    assert "upload.tls.client_key: needs client_cert beside it" in only


def test_tls_for_an_address_without_it_is_refused(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    text = APIS.replace("'${MD_URL}'", f"'http://h', tls: {{ca_file: {ca}}}")
    (only,) = problems(text)
    assert "metadata.tls: is of no use: url begins with http://" in only


def test_a_list_of_samples_may_be_behind_tls_alone(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    text = APIS.replace("'${MD_URL}'", f"'http://h', list_url: 'https://h/', tls: {{ca_file: {ca}}}")
    assert read(text, "m.yaml", ENVIRON).metadata.list_url == "https://h/"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("list_ids: 'a[]'", "list_ids: does nothing without list_url"), ("list_url: h", "list_url: must be an address")],
)
def test_a_mistake_in_the_list_of_samples_is_told(keys: str, expected: str) -> None:
    (only,) = problems(APIS.replace("'${MD_URL}'", f"'http://h', {keys}"))
    assert f"metadata.{expected}" in only


def test_a_wrong_expression_keeps_its_caret_on_lines_of_its_own() -> None:
    assert problem("tags: {PatientName: 'foo['}").splitlines()[1:] == ['    "foo["', "         ^"]


def test_wrong_templates_deep_in_a_body_are_told_at_their_places() -> None:
    text = "metadata:\n  url: http://h\n  json:\n    a: ['{x}']\n    b: '{'\n" + APIS.split("\n", 1)[1]
    assert [line.split(" ")[0:2] for line in problems(text)] == [
        ["m.yaml:4:9:", "metadata.json.a[0]:"],
        ["m.yaml:5:8:", "metadata.json.b:"],
    ]


def test_a_body_is_an_object_or_nothing() -> None:
    (only,) = problems(APIS.replace("'${MD_URL}'", "'${MD_URL}', json: [a]"))
    assert only.endswith("metadata.json: must be a block of names and values, or null, not a list")
    assert read(APIS.replace("'${MD_URL}'", "'${MD_URL}', json: null"), "m.yaml", ENVIRON).metadata.body is None


def test_images_can_be_compared_by_what_may_never_be_set() -> None:
    assert settings("dicom: {consistent: [StudyInstanceUID, '(0010,0020)']}").dicom.consistent == (
        "StudyInstanceUID",
        "PatientID",
    )


def test_analytics_that_are_not_enabled_need_no_address_and_no_key() -> None:
    text = "metadata: {url: 'http://h'}\nupload: {url: 'http://h'}\n"
    text += "analytics: {enabled: false, url: '${A_URL}', json: {a: '${X}'}}\n"
    made = read(text, "m.yaml", {"MD_KEY": "a", "U_KEY": "b"})
    assert (made.analytics.url, made.analytics.key) == (None, None)


def test_an_api_may_need_no_key() -> None:
    made = read(APIS.replace("'${MD_URL}'", "'${MD_URL}', key: null"), "m.yaml", ENVIRON)
    assert made.metadata.key is None


def test_secrets_show_in_no_text_of_the_settings_but_are_listed_for_redaction() -> None:
    text = APIS.replace("'${U_URL}'", "'${U_URL}', proxy: 'http://me:proxy-pass@proxy:3128'")
    made = read(text, "m.yaml", ENVIRON)
    for secret in ("metadata-key", "upload-key", "analytics-key", "proxy-pass"):
        assert secret not in f"{made!r} {made} {made.upload!r} {made.metadata.key} {made.metadata.key!r}"
        assert secret in made.secrets()


def test_settings_cannot_be_changed_and_equal_texts_give_equal_settings() -> None:
    made = settings("watch: {settle_time: 5s}")
    with pytest.raises(ValueError, match="frozen"):
        made.watch.settle_time = 1.0  # type: ignore[misc]
    assert made == settings("watch: {settle_time: 5s}")
    assert made != settings()


def test_part_of_a_block_leaves_the_rest_at_its_defaults() -> None:
    text = APIS.replace("'${MD_URL}'", "'${MD_URL}', timeout: {total: 5m}")
    assert read(text, "m.yaml", ENVIRON).metadata.timeout.read == 30.0


def test_a_commands_whereabouts_need_neither_secrets_nor_correct_apis(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("state: /x/state.db\nfolders: {inbox: /y/in}\nupload: {url: '${U_URL}', key: [1], nope: 2}\n")
    found = load_whereabouts(file, {})
    assert (found.state, found.folders.work) == (Path("/x/state.db"), Path("/y/work"))


def test_a_commands_whereabouts_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("state: '${NOWHERE}'\n")
    with pytest.raises(ConfigurationInvalid, match=r":1:8: state: environment variable NOWHERE is not set"):
        load_whereabouts(file, {})


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="cannot be read: No such file") as refused:
        load(tmp_path / "m.yaml", {})
    assert refused.value.exit_code == 78
    assert refused.value.remedy == "moichord init writes a file to start with."


def test_a_file_that_is_no_text_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(b"version: 1\nstate: /\xff\n")
    with pytest.raises(ConfigurationInvalid, match=":2: is not a text in UTF-8"):
        load(file, {})


def test_the_environment_alone_is_enough_for_one_run() -> None:
    made = from_environment(ENVIRON)
    assert made.upload.url == ENVIRON["U_URL"]
    assert set(made.secrets()) == {"metadata-key", "upload-key", "analytics-key"}


def test_everything_that_the_environment_lacks_is_told_at_once() -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        from_environment({"MD_URL": "http://h", "MD_KEY": "a\nb", "U_URL": "nowhere", "U_KEY": "k", "A_KEY": ""})
    assert refused.value.problems == [
        "environment: A_URL: is not set",
        "environment: A_KEY: is not set",
        "environment: MD_KEY: MD_KEY must be one line of printable ASCII without spaces around it",
        "environment: U_URL: must be an address that begins with http:// or https:// and a host",
    ]


def test_the_example_beside_the_readme_is_the_generated_one() -> None:
    file = Path(__file__).parents[2] / "config.example.yaml"
    again = 'python -c "from moichord.config.example import example; print(example(), end=str())" > config.example.yaml'
    assert file.read_text("utf-8") == example(), f"write it again: {again}"


def test_the_example_is_complete_and_says_what_the_defaults_are() -> None:
    assert read(example(), "example", ENVIRON) == settings()


def test_an_example_for_chosen_folders_uses_them() -> None:
    made = read(example(folders_root=Path("/data/lab"), state=Path("/data/state.db")), "example", ENVIRON)
    assert made.folders.inbox == Path("/data/lab/inbox")
    assert made.folders.failed == Path("/data/lab/failed")
    assert made.state == Path("/data/state.db")


def test_a_log_goes_to_the_journal_or_to_a_file_and_not_to_both() -> None:
    assert settings("logging: {format: journald}\n").logging.format == "journald"
    assert problem("logging: {format: journald, file: /var/log/moichord.log}\n").startswith("1:35: logging.file: ")
