"""``make conformance``: runs the cases, prints those that fail, and ends with ``N passed, M failed``.

``python -m tests.conformance [TEXT...]`` runs the cases whose name contains one of the texts;
NETSIM_CASES=DIR takes the files from another folder. Exit code 1 when a case failed, or when there was none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.conformance.suites import differences, load


def main(texts: Sequence[str]) -> int:
    passed = failed = 0
    for case in load():
        if texts and not any(text in case.name for text in texts):
            continue
        found = differences(case)
        if found:
            failed += 1
            print(f"FAIL {case.name}  {case.about}", *found, sep="\n")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
