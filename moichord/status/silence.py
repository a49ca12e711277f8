"""Whether no sample has come for longer than usual.

Owns the rule and its sentence. Pure, but for the local time zone; it must not know how people are told. No error leaves
it.
"""

from moichord.config.hours import WorkingHours
from moichord.status.phrases import duration, moment


def silent_for(last: float, now: float, hours: WorkingHours | None) -> float:
    """Seconds since the last sample came; those within working hours, if there are any."""
    return max(0.0, now - last) if hours is None else hours.seconds(last, now)


def silence(last: float, now: float, after: float | None, hours: WorkingHours | None) -> str | None:
    """What to say when none has come for `after` seconds; None as long as all is as usual."""
    if after is None or (quiet := silent_for(last, now, hours)) < after:
        return None
    counted = "" if hours is None else f" of working time ({hours.text})"
    since = f"no sample has come since {moment(last, now)}, for {duration(quiet)}{counted}"
    return f"{since}: look whether the scanners still reach the inbox"
