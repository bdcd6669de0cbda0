"""A failing test of a plane prints the packet walk too."""

from tests.net.conftest import _no_network_of_another_test, pytest_runtest_makereport

__all__ = ["_no_network_of_another_test", "pytest_runtest_makereport"]
