"""The nodes in the kernel that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.case_rules import KernelNodes


@pytest.fixture(scope="session")
def nodes() -> Iterator[KernelNodes]:
    with ExitStack() as stack:
        yield KernelNodes(stack)
