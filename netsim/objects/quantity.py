"""Quantities of resources as Kubernetes writes them: ``2``, ``1.5``, ``3920m``, ``4Gi``, ``1e3``.

Source: apimachinery ``pkg/api/resource/quantity.go``.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

PATTERN = r"[+-]?(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?"
_QUANTITY = re.compile(PATTERN)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def milli_value(quantity: object) -> int:
    """A quantity in thousandths, rounded up, as ``Quantity.MilliValue`` gives it; 0 for what is none."""
    text = str(quantity).strip()
    if not _QUANTITY.fullmatch(text):
        return 0
    number = text.rstrip("numkKMGTPEi")
    suffix = text[len(number) :]
    scale = 1024 ** _BINARY[suffix] if suffix in _BINARY else Fraction(10) ** _DECIMAL[suffix]
    return ceil(Fraction(number) * scale * 1000)
