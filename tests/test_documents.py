"""Every command in README and docs runs, and prints what the document says.

A block marked ``console`` holds commands after ``$`` and what they print, to stdout and stderr; ``…`` stands
for anything: a word, or any number of lines. Commands exit 0, unless the block's last line says otherwise
with ``# exit 2``. A block marked ``python`` runs as a program; one that imports pytest, as its tests. All see
the topologies of the repository and may write into the directory they run in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{path.relative_to(ROOT)}:{line}"))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that shows the repository's topologies and documents."""
    path = tmp_path_factory.mktemp("documents")
    for name in ("topologies", "docs", "README.md"):
        (path / name).symlink_to(ROOT / name)
    return path


def run(argv: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=place, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def matches(wanted: str, got: str) -> bool:
    lines = [
        r"(?:.*\n)*?" if line == "…\n" else ".*?".join(map(re.escape, line.split("…")))
        for line in wanted.splitlines(keepends=True)
    ]
    return re.fullmatch("".join(lines), got) is not None


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("…\n", "", True),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a … z\n", "a b c z\n", True),
        ("a … z\n", "a\nz\n", False),
        ("a…\n", "a", False),
    ],
)
def test_an_ellipsis_stands_for_a_word_or_for_lines(wanted: str, got: str, same: bool) -> None:
    assert matches(wanted, got) is same


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_print_what_the_document_says(block: str, place: Path) -> None:
    sessions = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert sessions[0] == "", "a console block begins with a command"
    for session in sessions[1:]:
        command, wanted = session.split("\n", 1)
        exit_code = 0
        if said := re.search(r"^# exit (\d+)\n", wanted, re.MULTILINE):
            exit_code = int(said[1])
            wanted = wanted.replace(said[0], "")
        shell = f'netsim() {{ "{sys.executable}" -m netsim "$@"; }}\n{command}'
        result = run(["/bin/sh", "-c", shell], place)
        assert result.returncode == exit_code, f"$ {command}\n{result.stdout}"
        assert matches(wanted, result.stdout), f"$ {command}\n{result.stdout}\n--- wanted ---\n{wanted}"


@pytest.mark.parametrize("block", blocks("python"))
def test_programs_run(block: str, place: Path) -> None:
    argv = [sys.executable, "-W", "error", "-c", block]
    if "import pytest\n" in block:
        (place / "test_block.py").write_text(block, encoding="utf-8")
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_block.py"]
    result = run(argv, place)
    assert result.returncode == 0, result.stdout


LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    missing = [
        link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()
    ]
    assert missing == []


def test_the_readme_shows_commands() -> None:
    assert any("README.md" in str(getattr(case, "id", "")) for case in blocks("console"))
