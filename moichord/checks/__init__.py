"""What can be known before the daemon runs: would the folders, the state and the servers serve it?

    finding    the words for what was found, as plain data
    places     folders, file systems, the state, the watch of the inbox
    servers    the three APIs, asked without causing work

Owns the questions. It changes nothing that stays, and must not know how findings are shown. No error leaves it but
ConfigurationInvalid, from an address or header that cannot be used at all.
"""

from moichord.checks.finding import Finding, Result
from moichord.checks.places import check_places
from moichord.checks.servers import check_servers

__all__ = ["Finding", "Result", "check_places", "check_servers"]
