"""Who may see the page, and who may ask for something on it."""

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from moichord.sample import State, Step
from moichord.status.web.attempts import FREE
from moichord.status.web.passwords import LENGTH, Stored, with_person
from tests.unit.status.lab import Lab
from tests.unit.status.site import Browser, Site, served

PASSWORD = "a long enough one"


def quickly(password: str) -> Stored:
    """A password as it is stored, but hashed in no time. What `stored` makes is tried in test_web_parts."""
    salt = b"a pinch of salt."
    return Stored(2, 8, 1, salt, hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=LENGTH))


ANNA = f"anna:{quickly(PASSWORD)}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    with served(lab) as site:
        yield site


@pytest.fixture
def people(tmp_path: Path) -> Path:
    file = tmp_path / "people"
    file.write_text(ANNA)
    file.chmod(0o600)
    return file


@pytest.fixture
def closed(lab: Lab, people: Path) -> Iterator[Site]:
    """A page that asks for a password."""
    with served(lab, password_file=str(people)) as site:
        yield site


@pytest.fixture
def failed(lab: Lab) -> str:
    submission = lab.processing("MO-1")
    lab.ended(submission, State.FAILED, "It is broken.", "Mend it.")
    return submission.uuid


def asked(lab: Lab) -> list[str]:
    return [request.kind for request in lab.requests.open()]


def test_every_answer_tells_the_browser_what_it_may_load(site: Site) -> None:
    browser = site.browser()
    for path in ("/", "/nowhere", "/static/live.js", "/healthz", "/api/samples"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_no_page_holds_a_style_or_script_that_the_policy_forbids(lab: Lab, site: Site, failed: str) -> None:
    for path in ("/", "/days", f"/samples/{failed}", "/nowhere"):
        text = site.browser().get(path).text
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)|https?://", text) == []


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8642", "192.0.2.7", "", "127.0.0.1.evil.test", "[::1"])
def test_without_a_password_only_requests_that_name_this_machine_are_answered(site: Site, host: str) -> None:
    assert site.browser().get("/", Host=host).status_code in {400, 421}
    assert site.browser().get("/api/samples", Host=host).status_code in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:8642", "[::1]:8642"])
def test_a_tunnel_from_another_machine_may_have_another_port(site: Site, host: str) -> None:
    assert site.browser().get("/", Host=host).status_code == 200


def test_retry_on_the_page_becomes_a_request_that_the_daemon_carries_out(lab: Lab, site: Site, failed: str) -> None:
    browser = site.browser()
    answer = browser.post(f"/api/samples/{failed}/retry", {"token": browser.token(), "next": "/?q=MO"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=MO")
    assert asked(lab) == ["retry"]
    text = browser.get().text
    assert "Is to be retried" in text
    assert f"/{failed}/retry" not in text  # it is asked for once only


def test_cancel_on_the_page_becomes_a_request_too(lab: Lab, site: Site) -> None:
    browser, uuid = site.browser(), lab.processing("MO-2", Step.UPLOAD).uuid
    token = browser.token(f"/samples/{uuid}")
    assert browser.post(f"/api/samples/{uuid}/cancel", {"token": token}).status_code == 303
    assert asked(lab) == ["cancel"]


def test_what_makes_no_sense_is_refused_by_name(lab: Lab, site: Site, failed: str) -> None:
    browser, token = site.browser(), None
    token = browser.token()
    answer = browser.post(f"/api/samples/{failed}/cancel", {"token": token})
    assert (answer.status_code, "MO-1 is failed already" in answer.text) == (409, True)
    lab.taken("MO-1")
    answer = browser.post(f"/api/samples/{failed}/retry", {"token": token})
    assert (answer.status_code, "A newer submission of MO-1" in answer.text) == (409, True)
    assert browser.post("/api/samples/nobody/retry", {"token": token}).status_code == 404
    assert asked(lab) == []


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"token": "0" * 64}, {}),
        ({"token": "é"}, {}),
        ({"token": "{token}"}, {"Origin": "http://evil.test"}),
        ({"token": "{token}"}, {"Origin": "null"}),
        ({"token": "{token}"}, {"Sec_Fetch_Site": "cross-site"}),
        ({"token": "{token}"}, {"Sec_Fetch_Site": "same-site"}),
        ({}, {"Content_Type": "application/json", "Origin": "http://evil.test"}),
        ({}, {"Content_Type": "text/plain; application/json"}),
    ],
)
def test_no_other_site_can_ask_for_anything(
    lab: Lab, site: Site, failed: str, form: dict[str, str], headers: dict[str, str]
) -> None:
    browser = site.browser()
    form = {name: value.format(token=browser.token()) for name, value in form.items()}
    assert browser.post(f"/api/samples/{failed}/retry", form, **headers).status_code == 403
    assert asked(lab) == []


def test_the_token_of_one_browser_is_no_good_in_another(lab: Lab, site: Site, failed: str) -> None:
    other = site.browser()
    other.get()
    form = {"token": site.browser().token()}
    assert other.post(f"/api/samples/{failed}/retry", form).status_code == 403


def test_a_program_asks_by_json(lab: Lab, site: Site, failed: str) -> None:
    address = f"{site.address}/api/samples/{failed}"
    answer = requests.post(f"{address}/retry", json={}, timeout=20)
    assert (answer.status_code, answer.json()) == (202, {"said": "It is to be retried."})
    assert requests.post(f"{address}/retry", json={}, timeout=20).json() == {"said": "That was asked for already."}
    assert requests.post(f"{address}/cancel", json={}, timeout=20).json()["refused"].startswith("MO-1 is failed")
    assert asked(lab) == ["retry"]


def test_a_form_that_is_too_large_is_refused_unread(site: Site, failed: str) -> None:
    assert site.browser().post(f"/api/samples/{failed}/retry", {"token": "x" * 100_000}).status_code == 413


def test_a_page_that_is_for_reading_only_offers_nothing_and_takes_nothing(lab: Lab, failed: str) -> None:
    with served(lab, read_only=True) as site:
        browser = site.browser()
        assert '<button type="submit" class="strong">' not in browser.get().text
        assert requests.post(f"{site.address}/api/samples/{failed}/retry", json={}, timeout=20).status_code == 403
    assert asked(lab) == []


# With a password


def test_a_stranger_sees_the_login_and_nothing_else(closed: Site, failed: str) -> None:
    browser = closed.browser()
    for path in ("/", "/days", f"/samples/{failed}", f"/samples/{failed}/receipt", f"/pictures/{failed}", "/live"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True)
    assert browser.get("/api/samples", Accept="application/json").status_code == 401
    assert requests.post(f"{closed.address}/api/samples/{failed}/retry", json={}, timeout=20).status_code == 401
    assert browser.get("/healthz").status_code == browser.get("/readyz").status_code == 200
    assert "MO-1" not in browser.get("/login").text


def test_what_monitoring_asks_is_open_and_names_no_sample(closed: Site, failed: str) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        answer = requests.get(f"{closed.address}{path}", timeout=20)
        assert answer.status_code == 200
        assert "MO-1" not in answer.text
        assert failed not in answer.text
        assert "set-cookie" not in answer.headers


def test_a_program_signs_in_with_every_request_and_gets_no_cookie(lab: Lab, closed: Site, failed: str) -> None:
    who = ("anna", PASSWORD)
    answer = requests.get(f"{closed.address}/api/samples", auth=who, timeout=20)
    assert answer.json()["attention"][0]["sample_id"] == "MO-1"
    assert "set-cookie" not in answer.headers
    answer = requests.post(f"{closed.address}/api/samples/{failed}/retry", json={}, auth=who, timeout=20)
    assert (answer.status_code, asked(lab)) == (202, ["retry"])


def test_a_program_without_credentials_is_told_which_to_give_and_a_browser_is_not(closed: Site) -> None:
    address = f"{closed.address}/api/samples"
    assert requests.get(address, timeout=20).headers["www-authenticate"].startswith("Basic ")
    form = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    assert "www-authenticate" not in requests.post(f"{address}/x/retry", headers=form, timeout=20).headers


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic ?", "Basic YW5uYQ==", "Bearer x", "Basic /////w==", "Basic YW5uYTp3cm9uZw==", "Basic Og=="],
)
def test_wrong_credentials_of_a_program_open_nothing(closed: Site, header: str) -> None:
    answer = requests.get(f"{closed.address}/api/samples", headers={"Authorization": header}, timeout=20)
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


def test_right_credentials_of_a_program_open_no_page(closed: Site) -> None:
    answer = requests.get(f"{closed.address}/", auth=("anna", PASSWORD), timeout=20)
    assert answer.status_code == 401


def test_another_site_cannot_use_the_credentials_that_a_browser_has_kept(lab: Lab, closed: Site, failed: str) -> None:
    who, address = ("anna", PASSWORD), f"{closed.address}/api/samples/{failed}/retry"
    foreign = {"Origin": "http://evil.test"}
    assert requests.post(address, json={}, auth=who, headers=foreign, timeout=20).status_code == 403
    assert requests.post(address, data={"next": "/"}, auth=who, timeout=20).status_code == 403  # a form, no token
    assert asked(lab) == []


def test_a_password_is_hashed_once_for_all_requests_of_a_program(
    closed: Site, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    fits = Stored.fits
    monkeypatch.setattr(Stored, "fits", lambda self, given: hashed.append(given) or fits(self, given))
    address = f"{closed.address}/api/samples"
    for _ in range(3):
        assert requests.get(address, auth=("anna", PASSWORD), timeout=20).status_code == 200
    assert hashed == [PASSWORD]
    assert requests.get(address, auth=("anna", "wrong"), timeout=20).status_code == 401
    people.write_text(with_person(people.read_text(), "anna", quickly("another one, longer")))
    assert requests.get(address, auth=("anna", PASSWORD), timeout=20).status_code == 401
    assert hashed == [PASSWORD, "wrong", PASSWORD]


def test_many_first_requests_of_a_program_at_once_are_all_heard_and_hash_its_password_once(
    closed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    fits = Stored.fits
    monkeypatch.setattr(Stored, "fits", lambda self, given: hashed.append(given) or fits(self, given))
    answers = at_once(4 * FREE, closed, PASSWORD)
    assert answers == [200] * 4 * FREE
    assert hashed == [PASSWORD]


def test_many_guesses_at_once_are_heard_no_more_than_one_after_the_other(
    closed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(Stored, "fits", lambda self, given: hashed.append(given) or False)
    answers = at_once(4 * FREE, closed, "wrong")
    assert sorted(answers) == [401] * (FREE + 1) + [429] * (3 * FREE - 1)
    assert len(hashed) == FREE + 1


def at_once(number: int, site: Site, password: str) -> list[int]:
    """The statuses of so many requests of one program that begin together."""
    begin = threading.Barrier(number)

    def ask(_: int) -> int:
        begin.wait(20)
        return requests.get(f"{site.address}/api/samples", auth=("anna", password), timeout=60).status_code

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(ask, range(number)))


def test_guessing_is_no_easier_for_a_program_than_at_the_login(lab: Lab, closed: Site) -> None:
    address = f"{closed.address}/api/samples"
    assert requests.get(address, auth=("anna", PASSWORD), timeout=20).status_code == 200  # and is remembered
    for _ in range(FREE + 1):
        assert requests.get(address, auth=("anna", "wrong"), timeout=20).status_code == 401
    answer = requests.get(address, auth=("anna", PASSWORD), timeout=20)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert closed.browser().sign_in("anna", PASSWORD).status_code == 429
    lab.clock.at += 3
    assert requests.get(address, auth=("anna", PASSWORD), timeout=20).status_code == 200


def test_the_right_password_opens_it_until_signing_out(closed: Site) -> None:
    browser = closed.browser()
    answer = browser.sign_in("anna", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/days")
    assert browser.get().status_code == 200
    assert "Sign out anna" in browser.get().text

    kept = browser.session.cookies["moichord"]
    assert browser.post("/logout", {"token": browser.token()}).headers["location"] == "/login"
    assert browser.get().status_code == 303
    assert browser.session.cookies["moichord"] != kept


def test_a_host_of_any_name_is_answered_where_a_password_is_asked_for(closed: Site) -> None:
    assert closed.browser().get("/login", Host="moichord.lab.example").status_code == 200


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("nobody", PASSWORD), ("", ""), ("anna", "")])
def test_a_wrong_name_or_password_opens_nothing_and_does_not_say_which(closed: Site, name: str, password: str) -> None:
    browser = closed.browser()
    answer = browser.sign_in(name, password)
    assert (answer.status_code, "The name or the password is wrong." in answer.text) == (403, True)
    assert browser.get().status_code == 303


def test_who_tries_too_often_waits_and_the_right_password_waits_too(lab: Lab, closed: Site) -> None:
    browser = closed.browser()
    for _ in range(FREE + 1):
        assert browser.sign_in("anna", "wrong").status_code == 403
    answer = browser.sign_in("anna", PASSWORD)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"
    lab.clock.at += 3
    assert browser.sign_in("anna", PASSWORD).status_code == 303


def test_a_login_form_of_another_site_signs_nobody_in(closed: Site) -> None:
    browser = closed.browser()
    assert browser.post("/login", {"name": "anna", "password": PASSWORD}).status_code == 403


@pytest.mark.parametrize("wanted", ["//evil.test", "https://evil.test", "/\\evil.test", "/a\r\nX: y", "evil"])
def test_after_signing_in_nobody_is_led_elsewhere(closed: Site, wanted: str) -> None:
    browser = closed.browser()
    form = {"name": "anna", "password": PASSWORD, "token": browser.token("/login"), "next": wanted}
    assert browser.post("/login", form).headers["location"] == "/"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_secure_behind_https(closed: Site) -> None:
    plain = closed.browser().get("/login").headers["set-cookie"]
    assert all(flag in plain for flag in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert "Secure" not in plain
    assert "; Secure" in closed.browser().get("/login", X_Forwarded_Proto="https").headers["set-cookie"]


def test_a_new_password_ends_the_sessions_of_that_person(closed: Site, people: Path) -> None:
    browser = closed.browser()
    browser.sign_in("anna", PASSWORD)
    people.write_text(with_person(people.read_text(), "anna", quickly("another one, longer")))
    assert browser.get().status_code == 303
    assert browser.sign_in("anna", "another one, longer").status_code == 303


def test_who_is_struck_off_the_file_is_out(closed: Site, people: Path) -> None:
    browser = closed.browser()
    browser.sign_in("anna", PASSWORD)
    people.write_text("# nobody\n")
    assert browser.get().status_code == 303


def test_a_session_that_is_not_used_ends_and_one_that_is_goes_on(lab: Lab, closed: Site) -> None:
    used, unused = closed.browser(), closed.browser()
    used.sign_in("anna", PASSWORD)
    unused.sign_in("anna", PASSWORD)
    for _ in range(15):
        lab.clock.at += 3600
        assert used.get().status_code == 200
    assert unused.get().status_code == 303


def test_a_session_outlives_the_daemon(lab: Lab, people: Path) -> None:
    with served(lab, password_file=str(people)) as site:
        browser = site.browser()
        browser.sign_in("anna", PASSWORD)
    with served(lab, password_file=str(people)) as again:
        moved = Browser(again.address, browser.session)
        assert moved.get().status_code == 200


def test_a_password_file_that_cannot_be_used_opens_nothing(closed: Site, people: Path) -> None:
    browser = closed.browser()
    browser.sign_in("anna", PASSWORD)
    for spoil in (lambda: people.write_text("anna:plain\n"), people.unlink):
        spoil()
        assert browser.get().status_code == 503
        assert browser.get("/healthz").status_code == 200
