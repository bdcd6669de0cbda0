"""The kinds of case files, and the cases of a folder.

A file is known by its name. Another kind of file is one line in ``SUITES`` and a module beside this one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conformance import dns_cases, envvar_cases, kubelet_cases, proxy_cases, stub_cases
from tests.conformance.case import Case, Difference

FOLDER = Path(__file__).parent / "cases"

SUITES: dict[str, Callable[[Any], Iterator[Case]]] = {
    "dns-cases.json": dns_cases.cases,
    "stub-cases.json": stub_cases.cases,
    "kubelet-dns-cases.json": kubelet_cases.cases,
    "envvar-cases.json": envvar_cases.cases,
    "proxy-cases.json": proxy_cases.cases,
}


def load() -> list[Case]:
    """All cases of the folder that NETSIM_CASES names, or else of our own; a file may be missing there."""
    chosen = os.environ.get("NETSIM_CASES")
    folder = Path(chosen) if chosen else FOLDER
    found = []
    for file, cases in SUITES.items():
        path = folder / file
        if path.exists():
            prefix = file.removesuffix(".json")
            content = json.loads(path.read_text(encoding="utf-8"))
            found += [case._replace(name=f"{prefix}/{case.name}") for case in cases(content)]
    return found


def differences(case: Case) -> list[Difference]:
    """Run a case; what it raises is a difference."""
    try:
        return case.run()
    except Exception as error:
        return [Difference("the case", "a result", f"{type(error).__name__}: {error}")]
