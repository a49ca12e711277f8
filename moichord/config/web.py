"""The settings of the page for people.

Owns its keys, and what an address to listen at is. It must not know how pages are served. Errors: pydantic's.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from pydantic import BeforeValidator

from moichord.config.block import Block, Impossible, entry
from moichord.config.whereabouts import FullPath
from moichord.config.wording import shown

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. `host` is a name or an IP address; port 0 is any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(value: object) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT`."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"]) > LARGEST_PORT:
        raise ValueError(f"must be HOST:PORT, such as 127.0.0.1:8642 or [::1]:8642, not {shown(value)}")
    return Address(match["six"] or match["host"], int(match["port"]))


Listen = Annotated[Address, BeforeValidator(address)]


class Web(Block):
    """The page that shows people how their samples fare."""

    enabled: bool = entry(True, "Whether there is a page.")
    listen: Listen = entry(
        "127.0.0.1:8642", "Where: this machine only (127.0.0.1), or 0.0.0.0:8642 for all that reach it."
    )
    password_file: FullPath | None = entry(
        None, "Who may see it, one line for each person: `moichord web-password NAME`. null: on this machine everybody."
    )
    read_only: bool = entry(False, "Whether nothing can be asked for on the page: no retry, no cancel.")
    show_patient_data: bool = entry(False, "Whether it shows the values of tags, replies of servers, and label images.")

    def impossible(self) -> Impossible:
        if self.enabled and self.password_file is None and not self.listen.is_loopback:
            yield ("password_file",), f"is needed, since others than this machine reach {self.listen}"
