"""`python -m moichord` is `moichord`. Owns nothing; no error leaves it."""

import sys

from moichord.cli import main

if __name__ == "__main__":
    sys.exit(main())
