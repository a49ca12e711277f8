"""The four folders of a sample's trip; the only package that moves a sample.

    inbox/SAMPLE -> work/UUID/SAMPLE -> done/SAMPLE or failed/SAMPLE

    places      where a sample lies, and its moves
    moving      one folder from one name to another
    preparing   whether the folders can serve, and whose work folder it is
    names       which names a sample may get, and what a folder says of itself

Owns those places. It must not know why a sample moves, nor the state.

DIAGNOSTICS: `ConfigurationInvalid` for folders that cannot serve, `ForeignFolder` for a work folder of another state
(`StateInUse` where that is to be adopted while its daemon runs);
`Moved` where a sample is not where it should be; `UsageRefused` for what cannot be brought back; `FileExistsError`
where a target is taken by another; any other `OSError` from below.
"""

from moichord.spool.names import ATTEMPT_SUFFIX, Kind, candidates, kind_of, receipt_owner
from moichord.spool.places import NotTaken, Spool

__all__ = ["ATTEMPT_SUFFIX", "Kind", "NotTaken", "Spool", "candidates", "kind_of", "receipt_owner"]
