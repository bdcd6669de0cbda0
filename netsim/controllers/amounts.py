"""Numbers of Pods that users write as a count or as a share of all replicas."""

from __future__ import annotations

from math import ceil


def scaled(amount: int | str, total: int, *, round_up: bool) -> int:
    """How many Pods ``3`` or ``25%`` of ``total`` are (apimachinery ``util/intstr``,
    GetScaledValueFromIntOrPercent)."""
    if isinstance(amount, int):
        return amount
    share = int(amount.removesuffix("%")) * total
    return ceil(share / 100) if round_up else share // 100
