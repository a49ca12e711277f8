"""What the page says, to whom, and what it keeps back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from moichord.queue.arrivals import Taking
from moichord.sample import State, Step
from tests.unit.status.lab import NOON, PATIENT, REFUSED, Lab, whole_story
from tests.unit.status.site import Site, served

DAY = 86400.0
MARKUP = '<script>alert("x")</script>'


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    with served(lab) as site:
        yield site


def sections(text: str) -> list[str]:
    return re.findall(r'<h2 id="h-(\w+)"', text)


def row_of(text: str, sample_id: str) -> str:
    """The line of that sample, markup and all."""
    lines = re.findall(r'<li class="row.*?</li>', text, re.DOTALL)
    (found,) = [line for line in lines if f">{sample_id}</" in line]
    return found


def test_the_banner_comes_first_then_what_needs_somebody_with_its_cause_and_what_to_do(lab: Lab, site: Site) -> None:
    whole_story(lab)
    text = site.browser().get().text

    assert text.index("2 samples need you.") < text.index('id="h-attention"')
    assert sections(text) == ["attention", "way", "arriving", "finished"]
    failed = row_of(text, "MO-1003")
    assert "The metadata server does not know the sample MO-1003 (404)." in failed
    assert "Check the folder&#39;s name" in failed
    assert "/retry" in failed
    assert "rename the folder to the ID of the sample" in row_of(text, "my slides (2)")


def test_what_waits_while_all_is_paused_says_so_instead_of_a_next_try(lab: Lab, site: Site) -> None:
    lab.transient(lab.processing("MO-1"))
    lab.requests.pause()
    text = site.browser().get().text
    assert "Paused since" in text
    assert "Moichord is paused: it goes on after `moichord resume`." in row_of(text, "MO-1")
    assert "Next try" not in text


def test_a_retry_while_all_is_paused_is_answered_with_that(lab: Lab, site: Site) -> None:
    sample = lab.processing("MO-1")
    lab.ended(sample, State.FAILED, "It is broken.")
    lab.requests.pause()
    answer = requests.post(f"{site.address}/api/samples/{sample.uuid}/retry", json={}, timeout=20)
    assert answer.json() == {"said": "It is to be retried, once moichord is no longer paused."}


def test_a_sample_that_was_removed_from_work_needs_somebody_but_cannot_be_retried(lab: Lab, site: Site) -> None:
    sample = lab.processing("MO-1")
    lab.endings.conclude_without_folder(sample, State.FAILED, "It was removed from work.", "Drop it again.")
    browser = site.browser()
    text = browser.get().text
    assert sections(text)[0] == "attention"
    assert "It was removed from work." in row_of(text, "MO-1")
    assert "/retry" not in text
    assert "removed from work: it lies nowhere" in browser.get(f"/samples/{sample.uuid}").text


def test_a_sample_that_is_sent_says_how_far_it_is_in_bytes(lab: Lab, site: Site) -> None:
    sending = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sending, 2)
    line = row_of(site.browser().get().text, "MO-1")

    assert 'max="104857600" value="52428800"' in line
    assert "50 MiB of 100 MiB, 2 of 3 images" in line
    assert "Sending 50 %" in line


def test_how_long_it_still_takes_is_said_once_that_is_known(lab: Lab, site: Site) -> None:
    browser, sending = site.browser(), lab.processing("MO-1", Step.UPLOAD)
    assert "left" not in row_of(browser.get().text, "MO-1").replace("class", "")
    lab.clock.at += 10
    lab.sent(sending, 2)
    assert ", 10 s left" in row_of(browser.get().text, "MO-1")


def test_an_outage_is_said_above_and_its_samples_wait(lab: Lab, site: Site) -> None:
    lab.outage(lab.processing("MO-1", Step.UPLOAD))
    text = site.browser().get().text

    assert "The image server cannot be used since" in text
    assert "nothing is lost." in text
    assert text.count(REFUSED) == 1
    assert "Waiting for the image server" in row_of(text, "MO-1")


@pytest.mark.parametrize("name", [MARKUP, "\x1b[31mred\x1b[0m", "caf\udce9", "\u202efdp.exe", "a\nb", "' onload='x"])
def test_a_hostile_name_is_shown_harmlessly_everywhere(lab: Lab, site: Site, name: str) -> None:
    lab.arriving(name, f"its name is {name}", sample_id=None)
    browser = site.browser()
    for path in ("/", "/?q=a", "/api/samples"):
        answer = browser.get(path)
        assert answer.status_code == 200
        shown = answer.content.decode("utf-8")
        assert not {"\x1b", "\u202e"} & set(shown)
        assert MARKUP not in shown if path != "/api/samples" else answer.headers["content-type"] == "application/json"
        assert "onload='x" not in shown or path == "/api/samples"


@pytest.mark.parametrize("query", ["?page=999", "?page=-1", "?page=a", "?day=9999-12-31", "?day=x", "?q=%00%ff"])
def test_a_strange_address_gets_a_page(lab: Lab, site: Site, query: str) -> None:
    whole_story(lab)
    assert site.browser().get(f"/{query}").status_code == 200
    assert site.browser().get(f"/days{query}").status_code == 200


def test_a_search_finds_part_of_a_sample_id_and_escapes_what_is_sought(lab: Lab, site: Site) -> None:
    lab.taken("MO-1")
    lab.taken("MO-12")
    lab.arriving("NEW-12")
    browser = site.browser()

    text = browser.get("/?q=12").text
    assert (">MO-12</a>" in text, ">NEW-12</span>" in text, ">MO-1</a>" in text) == (True, True, False)
    assert MARKUP not in browser.get("/?q=%3Cscript%3Ealert(%22x%22)%3C/script%3E").text
    assert "Nothing fits." in browser.get("/?q=nowhere").text


def test_finished_samples_have_pages_and_days(lab: Lab, site: Site) -> None:
    for number in range(30):
        lab.ended(lab.processing(f"MO-{number:02}", Step.ARCHIVE), State.DONE)
    browser = site.browser()
    first, second = browser.get().text, browser.get("/?page=2").text

    assert ("Page 1 of 2" in first, ">MO-29</a>" in first, ">MO-00</a>" in first) == (True, True, False)
    assert (">MO-29</a>" in second, ">MO-00</a>" in second) == (False, True)
    assert "<dt>Sent today</dt><dd>30</dd>" in first
    assert "30 sent, 0 failed" in browser.get("/days").text
    lab.ended(lab.processing("LATER", Step.ARCHIVE), State.DONE)
    assert "31 sent, 0 failed" in browser.get("/days").text, "though nobody has looked at the list since"
    lab.clock.at = NOON + 3 * DAY
    days = browser.get("/days").text
    day = re.search(r'href="/\?day=([0-9-]+)"', days)
    assert day is not None
    assert ">MO-29</a>" in browser.get(f"/?day={day[1]}").text
    assert ">MO-29</a>" not in browser.get("/?day=1999-01-01").text


def test_a_samples_page_tells_its_story_and_keeps_the_patients_data_back(lab: Lab, site: Site) -> None:
    sending = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(sending, 1)
    lab.refused(sending, "no room")
    browser = site.browser()
    text = browser.get(f"/samples/{sending.uuid}").text

    for told in (
        "Fetch its record",
        "slide-0.dcm",
        "Stored",
        "Refused: no room",
        "PatientName",
        "taken from the inbox",
    ):
        assert told in text
    assert PATIENT not in text
    assert "web.show_patient_data" in text
    assert PATIENT not in browser.get(f"/api/samples/{sending.uuid}").text
    assert browser.get("/samples/MO-1").headers["location"] == f"/samples/{sending.uuid}"
    assert browser.get("/samples/nobody").status_code == 404


def test_with_leave_the_values_before_and_after_are_shown_and_in_the_receipt(lab: Lab) -> None:
    done = lab.processing("MO-1", Step.UPLOAD)
    lab.sent(done, 3)
    lab.ended(done, State.DONE)
    with served(lab, show_patient_data=True) as open_site, served(lab) as closed_site:
        seen, hidden = (one.browser().get(f"/samples/{done.uuid}").text for one in (open_site, closed_site))
        whole, veiled = (one.browser().get(f"/samples/{done.uuid}/receipt") for one in (open_site, closed_site))

    assert PATIENT in seen
    assert PATIENT not in hidden
    assert whole.headers["content-disposition"] == 'attachment; filename="MO-1.attempt-001.receipt.json"'
    assert PATIENT in whole.text
    assert PATIENT not in veiled.text
    before, after = whole.json(), veiled.json()
    assert before.keys() == after.keys()
    assert (before["submission"], before["images"][0]["untouched"]) == (
        after["submission"],
        after["images"][0]["untouched"],
    )


def test_a_sample_on_its_way_has_no_receipt_yet(lab: Lab, site: Site) -> None:
    assert site.browser().get(f"/samples/{lab.taken('MO-1').uuid}/receipt").status_code == 404


def test_programs_get_what_the_commands_print(lab: Lab, site: Site) -> None:
    whole_story(lab)
    browser = site.browser()
    report = browser.get("/api/samples?q=mo-100").json()

    assert report["banner"] == "2 samples need you."
    assert report["listing"]["total"] == 7
    uuid = report["listing"]["submissions"][0]["submission"]
    assert browser.get(f"/api/samples/{uuid}").json()["submission"] == uuid
    assert browser.get("/api/samples/nobody").json() == {"refused": "No such sample is known here."}


def test_readiness_gives_reasons_that_quote_nobody(lab: Lab, site: Site) -> None:
    browser = site.browser()
    assert (browser.get("/healthz").text, browser.get("/readyz").text) == ("ok\n", "ready\n")
    site.hindrances.append("the disk of the state has less than 5 GiB free")
    lab.outage(lab.processing("MO-1", Step.UPLOAD))
    lab.requests.pause()

    answer = browser.get("/readyz")
    assert answer.status_code == 503
    disk, server, paused = answer.text.splitlines()
    assert disk == "the disk of the state has less than 5 GiB free"
    assert server.startswith("the image server cannot be used since")
    assert paused.startswith("paused since")
    assert REFUSED not in answer.text
    assert browser.get("/healthz").status_code == 200
    assert "moichord_" in browser.get("/metrics").text


def test_ten_thousand_samples_make_no_large_page(lab: Lab, site: Site) -> None:
    done = lab.processing("MO-0", Step.ARCHIVE)
    lab.ended(done, State.DONE)
    lab.copies(done, 10_000)
    browser = site.browser()
    for path in ("/", "/?page=300", "/?q=MO", "/days"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert len(answer.content) < 200_000
    assert "10001" in browser.get().text
    assert len(json.dumps(browser.get("/api/samples").json())) < 200_000


def test_a_sample_that_is_just_being_taken_stands_on_the_page_once(lab: Lab, site: Site) -> None:
    lab.arriving("MO-1")
    lab.arrivals.intend([Taking("MO-1", "MO-1", "m", 3, 3, 40, 1)])
    assert "Receiving" in row_of(site.browser().get().text, "MO-1")


def test_a_sample_that_has_ended_since_the_last_look_stands_on_the_page_once(lab: Lab) -> None:
    submission = lab.processing("MO-1")
    with served(lab, soonest=5.0) as site:
        assert "Checking" in row_of(site.browser().get().text, "MO-1")
        lab.ended(submission, State.FAILED, "It is broken.")
        assert "Checking" in row_of(site.browser().get().text, "MO-1")
        lab.clock.at += 5
        assert "It is broken." in row_of(site.browser().get().text, "MO-1")


def test_people_who_look_at_the_same_moment_get_each_a_form_of_their_own(lab: Lab, site: Site) -> None:
    submission = lab.processing("MO-1")
    lab.ended(submission, State.FAILED, "It is broken.", "Mend it.")
    one, other = site.browser(), site.browser()
    tokens = [browser.token() for browser in (one, other, one)]
    assert tokens[0] == tokens[2] != tokens[1]
    assert other.post(f"/api/samples/{submission.uuid}/retry", {"token": tokens[1]}).status_code == 303
    for browser in (one, other):
        assert "Is to be retried" in browser.get().text


def test_an_address_that_is_none_is_answered_in_plain_words(site: Site) -> None:
    answer = site.browser().get("/nowhere")
    assert (answer.status_code, "There is no such page here." in answer.text) == (404, True)
    assert requests.put(f"{site.address}/days", timeout=20).text.count("That cannot be done at this address.")
