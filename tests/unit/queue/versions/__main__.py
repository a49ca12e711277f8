"""Write down the present version of the database: once, in the commit that makes it."""

import tempfile
from pathlib import Path

from tests.unit.queue.versions import write_down

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(write_down(Path(scratch)))
