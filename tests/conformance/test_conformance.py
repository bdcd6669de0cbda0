"""The conformance cases as tests, one each. ``make conformance`` runs the same cases without pytest."""

from __future__ import annotations

import pytest

from tests.conformance.case import Case
from tests.conformance.stub_cases import CLIENTS
from tests.conformance.suites import differences, load


def _has_client(case: Case) -> bool:
    file, group, _ = case.name.split("/")
    return file != "stub-cases" or group.partition("-")[0] in CLIENTS


@pytest.mark.parametrize("case", [*filter(_has_client, load())], ids=lambda case: case.name)
def test_case(case: Case) -> None:
    found = differences(case)
    assert not found, "\n".join([case.about, *map(str, found)])
