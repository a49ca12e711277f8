"""A certificate for servers on loopback, by an authority of the tests' own."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """PEM files: the authority, the chain, the key."""

    ca_file: Path
    chain: Path
    key: Path


def make(folder: Path) -> Certificate:
    """Files below `folder` for `localhost`."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    made = Certificate(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(made.ca_file))
    made.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made.key))
    return made
