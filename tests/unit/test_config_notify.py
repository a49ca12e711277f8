"""Whom people may let moichord tell: addresses that are never shown, and what is wrong with them."""

import json
from pathlib import Path

import pytest

from moichord.config import Settings, read
from moichord.config.shareable import hidden, shareable
from moichord.errors import ConfigurationInvalid

APIS = "metadata: {url: 'http://h', key: null}\nupload: {url: 'http://h', key: null}\nanalytics: {enabled: false}\n"
TOKEN = "xoxb-12345-abcdef"
SLACK = f"slack://{TOKEN}/T1JJ3T3L2/A1BRTD4JD"
HEARTBEAT = "https://hc-ping.test/0e7a1b2c-3d4e?rid=secret-run-42"


def settings(notify: str, environ: dict[str, str] | None = None) -> Settings:
    return read(f"{APIS}notify: {notify}\n", "m.yaml", environ or {})


def test_addresses_are_written_or_named_as_secrets(tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text("mailto://me:pass@lab.test\n")
    file.chmod(0o600)
    made = settings(f"{{urls: ['json://{{{{x}}}}', {{env: CHAT}}, {{file: '{file}'}}]}}", {"CHAT": SLACK})
    assert [one.reveal() for one in made.notify.urls] == ["json://{{x}}", SLACK, "mailto://me:pass@lab.test"]


@pytest.mark.parametrize(
    ("notify", "says"),
    [
        ("{urls: [nowhere]}", "notify.urls[0]: must be one address of Apprise"),
        ("{urls: ['json://a', 'json://a b']}", "notify.urls[1]: must be one address of Apprise"),
        ("{urls: ['json://a', 'json://a']}", "notify.urls: names the same address twice"),
        ("{urls: [{env: NOWHERE}]}", "notify.urls[0].env: environment variable NOWHERE is not set"),
        ("{urls: json://a}", "notify.urls: must be a list"),
        ("{events: [failed, doom]}", "notify.events[1]: must be failed, outage, recovered, disk_low or silence"),
        ("{report_url: 'ftp://h'}", "notify.report_url: must be an address that begins with http"),
        ("{heartbeat_url: 'http://a:b@h'}", "notify.heartbeat_url: must not contain a user or password"),
        ("{window: 0s}", "notify.window: must be more than nothing"),
    ],
)
def test_what_cannot_be_told_is_said_with_its_place(notify: str, says: str) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        settings(notify)
    assert says in str(refused.value)
    assert "a b" not in str(refused.value)


def test_an_address_shows_in_no_text_of_the_settings_but_its_keys_are_listed_for_redaction() -> None:
    made = settings(f"{{urls: ['{SLACK}'], heartbeat_url: '{HEARTBEAT}', report_url: 'http://h/report/aB3dE6gH9'}}")
    for secret in (SLACK, TOKEN, "0e7a1b2c-3d4e", "secret-run-42", "aB3dE6gH9"):
        assert secret not in f"{made!r} {made} {made.notify!r}"
        assert secret in made.secrets()


def test_words_of_every_other_line_are_not_masked() -> None:
    made = settings("{urls: ['mailto://operator:p4ss@lab.example'], report_url: 'http://images.example:8080/report'}")
    assert set(made.secrets()) == {"mailto://operator:p4ss@lab.example", "p4ss"}


def test_a_support_file_holds_no_address(tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text("tgram://123456789:abcdefg/5")
    file.chmod(0o600)
    text = f"{APIS}notify: {{urls: ['{SLACK}', {{file: '{file}'}}], heartbeat_url: '{HEARTBEAT}'}}\n"
    shown = json.dumps(shareable(text))
    assert all(secret not in shown for secret in (TOKEN, "0e7a1b2c", "run-42", str(file)))
    assert {"tgram://123456789:abcdefg/5", SLACK, HEARTBEAT} <= hidden(text, {})
