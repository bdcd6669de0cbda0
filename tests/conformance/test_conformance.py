"""The conformance cases as tests, one each. ``make conformance`` runs the same cases without pytest."""

from __future__ import annotations

import pytest

from tests.conformance.case import Case
from tests.conformance.suites import differences, load


@pytest.mark.parametrize("case", load(), ids=lambda case: case.name)
def test_case(case: Case) -> None:
    found = differences(case)
    assert not found, "\n".join([case.about, *map(str, found)])
