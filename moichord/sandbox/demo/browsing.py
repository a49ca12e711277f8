"""The page of the demonstration, opened in the browser of whoever watches.

Owns whether there is a browser to open, and when: once the page answers. It must not know the page. No error leaves
it: a browser that does not open disturbs nothing, for the address is on the screen.
"""

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping
from contextlib import suppress

from moichord.clock import Clock

AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
HOST = "127.0.0.1"


def can_be_opened(environ: Mapping[str, str], *, terminal: bool, platform: str = sys.platform) -> bool:
    """Whether somebody sits here in front of a screen on which a browser can appear."""
    has_screen = platform in {"win32", "darwin"} or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return terminal and has_screen


def open_soon(port: int, clock: Clock, over: threading.Event) -> None:
    """Open the page at `port` in a thread beside, once it answers; not after `over`."""
    threading.Thread(target=_open, args=(port, clock, over), name="browser", daemon=True).start()


def _open(port: int, clock: Clock, over: threading.Event) -> None:
    until = clock.monotonic() + PATIENCE_SECONDS
    while not _listens(port):
        if over.is_set() or clock.monotonic() > until:
            return
        clock.wait(over, AGAIN_SECONDS)
    with suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        # What else is of this very kind is a browser in the terminal, which the live view has.
        if type(browser) is not webbrowser.GenericBrowser or os.environ.get("BROWSER"):
            browser.open(f"http://{HOST}:{port}/")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), AGAIN_SECONDS):
            return True
    except OSError:
        return False
