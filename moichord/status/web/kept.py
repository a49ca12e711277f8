"""What was said of the state as it stood at one look, kept for all who ask the same until something has changed.

Owns those answers, a bounded number of them. It must not know what is asked, nor what is said. Of itself no error
leaves it; what an answer raises does, and is not kept.
"""

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any

MOST = 32

Answer = Mapping[str, Any]


class Kept:
    """Answers about one state of things. Those who ask at the same time wait for one that is being made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._as_it_is: object = None
        self._answers: dict[Hashable, Answer] = {}

    def answer(self, as_it_is: object, question: Hashable, make: Callable[[], Answer]) -> Answer:
        """What `make` said to this question, as long as all else is equal to `as_it_is`."""
        with self._lock:
            if self._as_it_is != as_it_is or len(self._answers) >= MOST:
                self._answers.clear()
                self._as_it_is = as_it_is
            if question not in self._answers:
                self._answers[question] = make()
            return self._answers[question]
