"""The page in a real browser, against a running daemon.

Debian's Chromium, driven by Playwright. With MOICHORD_SCREENSHOTS=FOLDER pictures of all pages are written there, at
the widths of a phone and a desk, light and dark.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from moichord.sample import Api, State
from moichord.sandbox.catalogue import CATALOGUE
from moichord.sandbox.received import Received
from moichord.sandbox.samples import make_sample
from moichord.sandbox.stand_in import StandInApis
from moichord.status.web.passwords import stored
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
    """Makes a running daemon; `web` are settings of its page."""
    originals = tmp_path / "originals"
    originals.mkdir()
    with StandInApis(any_sample=True) as apis, daemons(tmp_path, apis.environment()) as make:

        def started(**web: object) -> House:
            daemon = make({"web": {"enabled": True, "listen": "127.0.0.1:0", **web}}).start()
            return House(daemon, apis, originals)

        yield started


@pytest.fixture
def person(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page as somebody new; whatever a browser complains of fails the test."""
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def new(address: str, **options: object) -> Page:
        context = chromium.new_context(**{"viewport": DESK, **options})
        context.set_default_timeout(PATIENCE)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
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


def test_a_sample_goes_through_its_states_on_the_page_without_a_reload(
    house: Callable[..., House], person: Callable[..., Page]
) -> None:
    lab = house()
    holding = [True]
    lab.apis.fail_for(lambda received: received.is_about(SLOW) and holding[0], status=503)
    page = person(lab.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready: no sample has come yet.")
    page.evaluate("window.stays = true")

    incomplete = lab.daemon.inbox / SLOW
    incomplete.mkdir()
    seen(page, SLOW, "Receiving")
    incomplete.rmdir()
    lab.drop(SLOW)
    seen(page, SLOW, "Waiting")
    holding[0] = False
    seen(page, SLOW, "^Sent$")
    expect(page.get_by_role("heading", level=1)).to_have_text("All samples sent.")
    picture = line(page, SLOW).locator("img")
    page.wait_for_function("(img) => img.complete && img.naturalWidth > 64", arg=picture.element_handle())
    assert page.evaluate("window.stays") is True


def test_retry_works_and_a_search_finds_it(house: Callable[..., House], person: Callable[..., Page]) -> None:
    lab = house()
    lab.drop(UNKNOWN)
    page = person(lab.address)
    seen(page, UNKNOWN, "Needs attention")
    lab.unregistered.clear()
    line(page, UNKNOWN).get_by_role("button", name="Retry").click()
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


def test_signing_in_and_out_with_the_keyboard_alone(
    house: Callable[..., House], person: Callable[..., Page], tmp_path: Path
) -> None:
    people = tmp_path / "people"
    people.write_text(f"anna:{stored(PASSWORD)}\n")
    people.chmod(0o600)
    lab = house(password_file=str(people))
    page = person(f"{lab.address}/days")
    page.get_by_label("Name").fill("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("30 days")
    page.get_by_role("button", name="Sign out anna").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto(lab.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_what_the_policy_forbids_does_not_run(house: Callable[..., House], chromium: Browser) -> None:
    lab = house()
    with closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(lab.address)
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=\"/static/icon.svg\" onload=\"window.ran = 1\">');"
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
        )
        page.wait_for_load_state("networkidle" if page.locator("main[data-live]").count() == 0 else "load")
        assert page.evaluate("window.ran") is None
        frame = context.new_page()
        frame.set_content(f'<iframe src="{lab.address}"></iframe>')
        expect(frame.frame_locator("iframe").locator("main")).to_have_count(0)


@pytest.mark.needs("axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader_or_weak_eyes(
    house: Callable[..., House], person: Callable[..., Page], scheme: str
) -> None:
    lab = house()
    for sample_id in (REGISTERED, UNKNOWN):
        lab.drop(sample_id)
    (lab.daemon.inbox / "my slides (2)").mkdir()
    done = lab.daemon.wait_until(REGISTERED, State.DONE)
    failed = lab.daemon.wait_until(UNKNOWN, State.FAILED)
    pages = {"list": "/", "sample": f"/samples/{done.uuid}", "failed": f"/samples/{failed.uuid}", "days": "/days"}
    for size_name, size in (("phone", PHONE), ("desk", DESK)):
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
