"""What can be known before the daemon runs: would the folders, the state and the servers serve it?

    finding    the words for what was found, as plain data
    places     folders, file systems, the state, the watch of the inbox
    mounts     shares that have served and are not mounted; their acceptance where that is meant
    servers    the three APIs, asked without causing work
    receivers  where messages go, with a test message if that is asked for

Owns the questions. But for that acceptance it changes nothing that stays; it must not know how findings are shown.
No error leaves the questions but ConfigurationInvalid, from an address or header that cannot be used at all.
"""

from moichord.checks.finding import Finding, Result
from moichord.checks.mounts import accept_folders
from moichord.checks.places import check_places
from moichord.checks.receivers import check_receivers
from moichord.checks.servers import check_servers

__all__ = ["Finding", "Result", "accept_folders", "check_places", "check_receivers", "check_servers"]
