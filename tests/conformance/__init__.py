"""Proof that images arrive exactly as received but for their tags: real and generated files, independent judges.

`pytest tests/conformance --all-conformance` runs every variant of every file.
"""

import pytest

pytest.register_assert_rewrite("tests.conformance.judges")
