"""The page of a lab's state, served on loopback, and browsers that look at it.

Owns the server's thread. It must not know what is tested.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
import yaml

from moichord.config import Settings, read
from moichord.status.web.room import Page
from tests.unit.status.lab import Lab

PATIENCE = 20.0
KEYS = {"MD_KEY": "a", "U_KEY": "b", "A_KEY": "c"}


@dataclass
class Browser:
    """Keeps cookies, follows no redirect, and finds the token of a form as a browser would."""

    address: str
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str = "/", **headers: str) -> requests.Response:
        wanted = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.session.get(f"{self.address}{path}", headers=wanted, allow_redirects=False, timeout=PATIENCE)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> requests.Response:
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.post(
            f"{self.address}{path}", data=form or {}, headers=wanted, allow_redirects=False, timeout=PATIENCE
        )

    def token(self, path: str = "/") -> str:
        """The token in the first form of that page."""
        found = re.search(r'name="token" value="([0-9a-f]{64})"', self.get(path).text)
        assert found is not None, f"no form on {path}"
        return found[1]

    def sign_in(self, name: str, password: str) -> requests.Response:
        form = {"name": name, "password": password, "token": self.token("/login"), "next": "/days"}
        return self.post("/login", form)


class Site:
    """A lab and its page."""

    def __init__(self, lab: Lab, page: Page, address: str) -> None:
        self.lab = lab
        self.page = page
        self.address = address
        self.hindrances: list[str] = []

    def browser(self) -> Browser:
        return Browser(self.address)


def settings_of(lab: Lab, web: Mapping[str, Any]) -> Settings:
    folders = {name: str(lab.root / name) for name in ("inbox", "done", "failed")}
    blocks = {
        "version": 1,
        "folders": folders,
        "state": str(lab.state),
        **{name: {"url": f"http://{name}.test"} for name in ("metadata", "upload", "analytics")},
        "web": {"listen": "127.0.0.1:0", **web},
    }
    return read(yaml.safe_dump(blocks), "moichord.yaml", KEYS)


@contextmanager
def served(lab: Lab, *, soonest: float = 0.0, **web: Any) -> Iterator[Site]:
    """The page, until the context ends; the state is looked at again after `soonest` seconds of the lab's clock."""
    stopping, known = threading.Event(), []
    page = Page(settings_of(lab, web), lab.database, lab.clock, lambda: known, soonest=soonest)
    thread = threading.Thread(target=page.run, args=(stopping,))
    thread.start()
    try:
        site = Site(lab, page, f"http://{page.address_once_it_listens(PATIENCE)}")
        site.hindrances = known
        yield site
    finally:
        stopping.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
