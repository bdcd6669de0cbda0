"""Every message that a file can get: one input in ``golden``, its messages beside it."""

from pathlib import Path

import pytest

from netsim.base.errors import ManifestError
from netsim.objects.manifest import load
from tests.conftest import Golden

FOLDER = Path(__file__).parent / "golden"
INPUTS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ONLY_WARNINGS = ("owners", "unmodelled")


@pytest.mark.parametrize("name", INPUTS)
def test_the_messages_are_these(name: str, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    if name in ONLY_WARNINGS:
        messages = load([f"{name}.yaml"]).warnings
    else:
        with pytest.raises(ManifestError) as caught:
            load([f"{name}.yaml"])
        messages = caught.value.problems
    golden(f"{name}.txt", "".join(f"{message}\n" for message in messages))


@pytest.mark.parametrize("name", ONLY_WARNINGS)
def test_strict_makes_the_warnings_errors(name: str) -> None:
    warnings = load([FOLDER / f"{name}.yaml"]).warnings
    with pytest.raises(ManifestError) as caught:
        load([FOLDER / f"{name}.yaml"], strict=True)
    assert caught.value.problems == warnings
    assert warnings
