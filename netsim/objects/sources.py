"""Where documents come from: files, directories, globs and text in memory, each read once.

``manifest`` calls ``read_source``; what is wrong with a file as a file (it is not there, it is not text) is
told here, what is wrong with its YAML in ``yaml_tree``.
"""

from __future__ import annotations

from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path

from netsim.base.errors import Problem, Source, UsageError
from netsim.objects.yaml_tree import YamlDocument, read_documents

TEXT = "-"  # what text given in memory is called in positions
SUFFIXES = (".yaml", ".yml", ".json")  # what is read of a directory, as `kubectl apply -f DIRECTORY` does

Read = tuple[list[YamlDocument], list[Problem]]


def read_source(source: str | Path, seen: set[Path]) -> Read:
    """The documents of a source and what is wrong in them; ``seen`` holds the files that were read already.

    A string of several lines, or one that starts with ``{``, is YAML text; another is the name of a file or
    directory, or a glob. Raises UsageError when it names nothing that can be read.
    """
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return read_documents(source, TEXT)
    documents: list[YamlDocument] = []
    problems: list[Problem] = []
    for path in files_of(source):
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            found, wrong = _read_file(path)
            documents += found
            problems += wrong
    return documents, problems


def beside(path: str, pattern: str) -> list[Path]:
    """The files that a document of ``path`` names by a pattern, which is relative to it; may be none."""
    base = Path() if path == TEXT else Path(path).parent
    found = [Path(pattern)] if Path(pattern).is_absolute() else sorted(base.glob(pattern))
    return [item for item in found if item.exists()]


def files_of(source: str | Path) -> list[Path]:
    """The files of a directory, a glob or a file name, as ``read_source`` reads them."""
    path = Path(source)
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES and item.is_file())
        if not found:
            listed = ", ".join(SUFFIXES)
            raise UsageError(f"no manifests in the directory {source}", hint=f"their names end in {listed}")
        return found
    if path.exists():
        return [path]
    if has_magic(str(source)):
        found = sorted(Path(name) for name in glob(str(source), recursive=True) if Path(name).is_file())
        if found:
            return found
        raise UsageError(f"no file matches {source}")
    raise UsageError(f"no such file: {source}", hint=_hint(source))


def _hint(source: str | Path) -> str:
    """What may have been meant: a file of nearly that name, or (of a str only) YAML text."""
    path = Path(source)
    siblings = sorted(item.name for item in path.parent.iterdir()) if path.parent.is_dir() else []
    near = get_close_matches(path.name, siblings, n=1)
    if near:
        return f"did you mean {path.with_name(near[0])}?"
    return "" if isinstance(source, Path) else "YAML text is recognised by its line breaks"


def _read_file(path: Path) -> Read:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        hint = "save the file as UTF-8"
        return [], [Problem(Source(str(path), line, column), "yaml: invalid UTF-8", hint=hint)]
    return read_documents(text, str(path))
