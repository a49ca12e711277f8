"""The settings of what people are told without looking.

Owns its keys. It must not know how they are told. Errors: pydantic's.
"""

from typing import Annotated

from pydantic import PlainValidator

from moichord.config import values as kinds
from moichord.config.block import Block, Impossible, entry
from moichord.config.hours import WorkingHours, working_hours

Hours = Annotated[WorkingHours, PlainValidator(working_hours)]


class Notify(Block):
    """What is said when nothing happens."""

    silence_after: kinds.PositiveDuration | None = entry(
        None, "No new sample for this long: that is said by status, the page and the metrics. null: never."
    )
    working_hours: Hours | None = entry(
        None, 'Silence counts only then, e.g. "Mon-Fri 07:00-19:00; Sat 8:00-12:00". null: always.'
    )

    def impossible(self) -> Impossible:
        if self.working_hours is not None and self.silence_after is None:
            yield ("working_hours",), "means nothing without silence_after"
