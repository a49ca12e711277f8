"""The page in a real browser, against a running daemon.

Debian's Chromium, driven by Playwright. With MOICHORD_SCREENSHOTS=FOLDER pictures of all pages are written there, at
the widths of a phone and a desk, light and dark.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from html import escape
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from moichord.sample import Api, State
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.received import Received
from moichord.sandbox.samples import make_sample
from moichord.sandbox.stand_in import StandInApis
from tests.integration.daemon import Daemon, daemons

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("browser")]

AXE = Path(__file__).parents[2] / ".test-data" / "axe" / "package" / "axe.min.js"
PATIENCE = 60_000
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PASSWORD = "a long enough one"
HOSTILE = "<img src=x onerror=alert(1)>"
REGISTERED, UNKNOWN, SLOW = "MO-1001", "MO-1020", "MO-1003"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])) as browser,
    ):
        yield browser


class House:
    """A daemon with its page, its stand-in servers, and people in front of it."""

    def __init__(self, daemon: Daemon, apis: StandInApis, originals: Path) -> None:
        self.daemon = daemon
        self.apis = apis
        self._originals = originals
        self.unregistered = {UNKNOWN}
        apis.fail_for(self._is_not_registered, status=404)
        found = daemon.wait_for(lambda: re.search(r"the page is at (http://\S+)/", daemon.log), "the page's address")
        self.address = found[1]

    def _is_not_registered(self, received: Received) -> bool:
        return received.api is Api.METADATA and any(received.is_about(one) for one in self.unregistered)

    def drop(self, sample_id: str, animal: str = REGISTERED) -> None:
        """A sample, whole at once."""
        made = self._originals / sample_id
        make_sample(made, sample_id, CATALOGUE[animal], seed=len(sample_id))
        made.rename(self.daemon.inbox / sample_id)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Makes a running daemon; `web` are settings of its page, `upload` of its uploads."""
    originals = tmp_path / "originals"
    originals.mkdir()
    with StandInApis(any_sample=True) as apis, daemons(tmp_path, apis.environment()) as make:

        def started(upload: Mapping[str, object] | None = None, **web: object) -> House:
            page = {"enabled": True, "listen": "127.0.0.1:0", **web}
            return House(make({"web": page, "upload": upload or {}}).start(), apis, originals)

        yield started


@pytest.fixture
def person(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page as somebody new. Whatever a browser complains of fails the test, but for what `expected` matches."""
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def new(address: str, expected: str = "$^", **options: object) -> Page:
        context = chromium.new_context(**{"viewport": DESK, **options})
        context.set_default_timeout(PATIENCE)
        opened.append(context)
        page = context.new_page()

        def complains(text: str) -> None:
            if not re.search(expected, text):
                complaints.append(text)

        page.on("console", lambda said: complains(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complains(str(error)))
        page.goto(address)
        return page

    yield new
    for context in opened:
        context.close()
    assert complaints == []


expect.set_options(timeout=PATIENCE)


def line(page: Page, sample_id: str):
    return page.locator("li.row").filter(has=page.get_by_text(sample_id, exact=True))


def seen(page: Page, sample_id: str, state: str) -> None:
    expect(line(page, sample_id).locator(".state")).to_have_text(re.compile(state))


def test_a_sample_goes_through_all_its_states_on_the_page_without_a_reload(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house(upload={"concurrency": 1})
    refusing = [True]
    lab.apis.fail_for(lambda received: received.is_about(SLOW) and refusing[0], status=503)
    page = person(lab.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready: no sample has come yet.")
    page.evaluate("window.stays = true")

    incomplete = lab.daemon.inbox / SLOW
    incomplete.mkdir()
    seen(page, SLOW, "^Receiving$")
    incomplete.rmdir()
    lab.drop(SLOW)
    seen(page, SLOW, "^Waiting for the metadata server$")

    record = lab.apis.hold(Api.METADATA)
    refusing[0] = False
    lab.daemon.hang_up()  # servers that are believed down are asked at once
    seen(page, SLOW, "^Checking$")

    stored_one = lab.apis.hold(Api.UPLOAD)
    record.set()
    seen(page, SLOW, r"^Sending [1-9]\d? %$")
    expect(line(page, SLOW).locator("progress")).to_be_visible()

    analysis = lab.apis.hold(Api.ANALYTICS)
    stored_one.set()
    seen(page, SLOW, "^Starting analysis$")

    analysis.set()
    seen(page, SLOW, "^Sent$")
    expect(page.get_by_role("heading", level=1)).to_have_text("All samples sent.")
    picture = line(page, SLOW).locator("img")
    page.wait_for_function("(img) => img.complete && img.naturalWidth > 64", arg=picture.element_handle())
    assert page.evaluate("window.stays") is True


def test_a_failed_sample_is_retried_by_its_button_through_to_sent_and_a_search_finds_it(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house()
    lab.drop(UNKNOWN)
    page = person(lab.address)
    seen(page, UNKNOWN, "^Needs attention$")
    expect(line(page, UNKNOWN).locator(".why")).to_contain_text(f"does not know the sample {UNKNOWN}")
    lab.unregistered.clear()
    record = lab.apis.hold(Api.METADATA)
    line(page, UNKNOWN).get_by_role("button", name="Retry").click()
    seen(page, UNKNOWN, "^Checking$")
    expect(line(page, UNKNOWN).get_by_role("button")).to_have_count(0)
    record.set()
    seen(page, UNKNOWN, "^Sent$")

    page.get_by_role("searchbox").fill("1020")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?q=1020"))
    seen(page, UNKNOWN, "^Sent$")
    page.get_by_role("searchbox").fill("nowhere")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing fits.")).to_be_visible()


def test_without_javascript_all_of_it_works(house: Callable[..., House], person: Callable[..., Page]) -> None:
    lab = house()
    lab.drop(UNKNOWN)
    lab.daemon.wait_until_failed(UNKNOWN)
    page = person(lab.address, java_script_enabled=False)
    line(page, UNKNOWN).get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    line(page, UNKNOWN).get_by_role("link", name=UNKNOWN).click()
    expect(page.get_by_role("heading", name="Steps")).to_be_visible()
    page.get_by_role("link", name="Days").click()
    expect(page.get_by_role("table")).to_be_visible()


def test_a_name_that_is_markup_stays_a_name(house: Callable[..., House], person: Callable[..., Page]) -> None:
    lab = house()
    page = person(lab.address)
    (lab.daemon.inbox / HOSTILE).mkdir()
    os.mkdir(os.fsencode(lab.daemon.inbox) + b"/\xff\x1b[31m")
    expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(r"\xff\x1b[31m", exact=True)).to_be_visible(timeout=PATIENCE)
    assert page.locator("main img[src='x']").count() == 0


def test_signing_in_and_out_with_the_keyboard_alone_and_not_with_a_wrong_password(
    house: Callable[..., House], person: Callable[..., Page], people: Path
) -> None:
    lab = house(password_file=str(people))
    page = person(f"{lab.address}/days", expected="status of 403")

    def try_with(password: str) -> None:
        page.get_by_label("Name").fill("anna")
        page.keyboard.press("Tab")
        page.keyboard.type(password)
        page.keyboard.press("Enter")

    try_with(f"not {PASSWORD}")
    expect(page.get_by_text("The name or the password is wrong.")).to_be_visible()
    page.goto(lab.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.get_by_role("searchbox")).to_have_count(0)

    page.goto(f"{lab.address}/days")
    try_with(PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_contain_text("30 days")
    page.get_by_role("button", name="Sign out anna").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto(lab.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


ASK = """([path, fields]) => fetch(path, {method: "POST", body: new URLSearchParams(fields), redirect: "manual"})
    .then((answer) => answer.type === "opaqueredirect" ? "taken" : answer.status)"""
ELSEWHERE = "http://elsewhere.test/"
FORM = '<form method="post" action="{action}" enctype="{kind}"><input name="next" value="/"><button>Go</button></form>'


def test_no_action_is_taken_without_the_token_of_the_page_neither_here_nor_from_another_site(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house()
    lab.drop(UNKNOWN)
    page = person(lab.address, expected="status of 403")
    seen(page, UNKNOWN, "^Needs attention$")
    failed = lab.daemon.wait_until(UNKNOWN, State.FAILED)
    before, path = lab.daemon.detail(failed), f"/api/samples/{failed.uuid}/retry"
    token = line(page, UNKNOWN).locator("input[name=token]").get_attribute("value")

    for wrong in ({}, {"token": ""}, {"token": "0" * 64}):
        assert page.evaluate(ASK, [path, wrong]) == 403
    kinds = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data")
    forms = "".join(FORM.format(action=f"{lab.address}{path}", kind=kind) for kind in kinds)
    page.context.route(ELSEWHERE, lambda route: route.fulfill(body=forms, content_type="text/html"))
    for number in range(len(kinds)):
        page.goto(ELSEWHERE)
        with page.expect_response(f"{lab.address}{path}") as answer:
            page.get_by_role("button").nth(number).click()
        assert answer.value.status == 403
        expect(page.get_by_text("This request came from another site.")).to_be_visible()
    assert lab.daemon.detail(failed) == before

    page.goto(lab.address)
    assert page.evaluate(ASK, [path, {"token": token}]) == "taken"
    lab.daemon.wait_for(lambda: lab.daemon.detail(failed).events != before.events, "the retry")


PLANTED = "<img src=x onerror=window.ran=1>"


def test_a_script_that_a_name_would_plant_does_not_run_even_if_the_page_did_not_escape_it(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house()
    (lab.daemon.inbox / PLANTED).mkdir()
    lab.daemon.wait_for(lambda: lab.daemon.arrival(PLANTED), "the folder to be seen")

    def careless(page: Page) -> None:
        """Show this page as a daemon would that forgets to escape; what it says of itself in headers stays."""

        def forgotten(route: Route) -> None:
            answer = route.fetch()
            assert escape(PLANTED) in answer.text()
            route.fulfill(response=answer, body=answer.text().replace(escape(PLANTED), PLANTED))

        page.context.add_init_script("addEventListener('securitypolicyviolation', () => { window.refused = true; })")
        page.route(f"{lab.address}/", forgotten, times=1)
        page.goto(f"{lab.address}/")

    page = person(lab.address, expected="Content Security Policy|status of 404")
    careless(page)
    page.wait_for_function("window.refused")
    assert page.evaluate("window.ran") is None

    unprotected = person(lab.address, expected="status of 404", bypass_csp=True)
    careless(unprotected)
    unprotected.wait_for_function("window.ran === 1")


def test_what_the_policy_forbids_does_not_run_nor_stand_in_a_frame(
    house: Callable[..., House], chromium: Browser
) -> None:
    lab = house()
    with closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(lab.address)
        page.evaluate(
            "window.refused = 0; addEventListener('securitypolicyviolation', () => { window.refused += 1; });"
            "document.body.insertAdjacentHTML('beforeend', '<img src=\"/static/icon.svg\" onload=\"window.ran = 1\">');"
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
        )
        page.wait_for_function("window.refused === 2")
        assert page.evaluate("window.ran") is None
        frame = context.new_page()
        frame.set_content(f'<iframe src="{lab.address}"></iframe>')
        expect(frame.frame_locator("iframe").locator("main")).to_have_count(0)


@pytest.mark.needs("axe")
def test_nothing_stands_in_the_way_of_a_screen_reader_or_weak_eyes(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house()
    for sample_id in (REGISTERED, UNKNOWN):
        lab.drop(sample_id)
    (lab.daemon.inbox / "my slides (2)").mkdir()
    done = lab.daemon.wait_until(REGISTERED, State.DONE)
    failed = lab.daemon.wait_until(UNKNOWN, State.FAILED)
    pages = {"list": "/", "sample": f"/samples/{done.uuid}", "failed": f"/samples/{failed.uuid}", "days": "/days"}
    for scheme, (size_name, size) in product(("light", "dark"), (("phone", PHONE), ("desk", DESK))):
        page = person(lab.address, viewport=size, color_scheme=scheme, bypass_csp=True)
        for name, path in pages.items():
            page.goto(f"{lab.address}{path}")
            page.add_script_tag(content=AXE.read_text("utf-8"))
            found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
            said = [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found["violations"]]
            assert said == [], f"{name}, {size_name}, {scheme}"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
            _keep(page, f"{name}-{size_name}-{scheme}")


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("MOICHORD_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(1000)  # for pictures to come
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
