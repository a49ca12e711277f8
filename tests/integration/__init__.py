"""The daemon as a process, against real and stand-in servers."""

import pytest

# Their assertions explain themselves, like those of the tests.
pytest.register_assert_rewrite("tests.integration.judges", "tests.integration.daemon")
