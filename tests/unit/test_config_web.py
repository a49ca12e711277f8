"""The settings of the page."""

import pytest

from moichord.config import Address, Settings, read
from moichord.errors import ConfigurationInvalid

APIS = "metadata: {url: 'http://m.test'}\nupload: {url: 'http://u.test'}\nanalytics: {enabled: false}\n"
NO_KEYS = {"MD_KEY": "a", "U_KEY": "b", "A_KEY": "c"}


def web(text: str) -> Settings:
    return read(f"{APIS}web: {{{text}}}\n", "m.yaml", NO_KEYS)


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8642", Address("127.0.0.1", 8642), True),
        ("127.8.7.6:1", Address("127.8.7.6", 1), True),
        ("[::1]:8642", Address("::1", 8642), True),
        ("localhost:0", Address("localhost", 0), True),
        ("0.0.0.0:80", Address("0.0.0.0", 80), False),  # noqa: S104 - read, not listened at
        ("[::]:8642", Address("::", 8642), False),
        ("lab.example:8642", Address("lab.example", 8642), False),
    ],
)
def test_an_address_is_read_and_known_to_be_this_machines_own(text: str, address: Address, loopback: bool) -> None:
    made = web(f"listen: '{text}', password_file: /etc/moichord/people").web
    assert (made.listen, made.listen.is_loopback, str(made.listen)) == (address, loopback, text)


@pytest.mark.parametrize("text", ["8642", "127.0.0.1", "127.0.0.1:65536", "::1:8642", "a b:1", "http://x:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="must be HOST:PORT"):
        web(f"listen: '{text}'")


def test_others_than_this_machine_see_the_page_with_a_password_only() -> None:
    with pytest.raises(ConfigurationInvalid, match=r"password_file: is needed, since .* 0\.0\.0\.0:8642"):
        web("listen: '0.0.0.0:8642'")
    assert web("listen: '0.0.0.0:8642', enabled: false").web.password_file is None
    assert web("listen: '127.0.0.1:8642'").web.password_file is None
