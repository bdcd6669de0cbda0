"""Pods and files are named on the command line as kubectl users name them."""

from __future__ import annotations

import pytest

from netsim.base.errors import UsageError
from netsim.cli.names import pod_target, sources


@pytest.mark.parametrize(
    ("typed", "namespace", "target"),
    [
        ("jump", "default", "default/jump"),
        ("jump", "dev", "dev/jump"),
        ("dev/jump", "default", "dev/jump"),
        ("dev/jump", "prod", "dev/jump"),
        ("pod/jump", "dev", "dev/jump"),
        ("deploy/web", "dev", "deploy/dev/web"),
        ("deployment/web", "default", "deploy/default/web"),
        ("deploy/prod/web", "default", "deploy/prod/web"),
    ],
)
def test_a_pod_is_named_in_any_of_these_ways(typed: str, namespace: str, target: str) -> None:
    assert pod_target(typed, namespace) == target


@pytest.mark.parametrize("typed", ["", "/jump", "dev/", "a/b/c", "deploy/a/b/c"])
def test_what_is_no_pods_name_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="hint: write dev/jump"):
        pod_target(typed, "default")


def test_without_a_file_the_error_says_which_option_to_give() -> None:
    with pytest.raises(UsageError, match="name its manifests with -f, as in: netsim exec -f "):
        sources([], "exec")
