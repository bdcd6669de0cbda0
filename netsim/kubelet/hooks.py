"""Lifecycle hooks: what a container is told to do before it is stopped.

A hook that fails or takes too long changes nothing but the time that is left. postStart is not modelled.
Source: pkg/kubelet/lifecycle/handlers.go, and executePreStopHook in kuberuntime_container.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from netsim.base.errors import UsageError
from netsim.kubelet.probes import READINESS, ProbeSpec, Target, attempt
from netsim.objects.core import Container


async def pre_stop(container: Container, target: Target, grace: float) -> None:
    """Run the container's preStop hook, for no longer than ``grace`` seconds."""
    hook: Mapping[str, Any] = (container.rest.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        await target.node.sleep(min(float((hook["sleep"] or {}).get("seconds", 0)), grace))
    elif "exec" in hook:
        with suppress(TimeoutError, UsageError):
            await target.run(tuple((hook["exec"] or {}).get("command") or ()), grace)
    elif "httpGet" in hook:
        await attempt(ProbeSpec(READINESS, "httpGet", hook["httpGet"], 0, 0, grace, 1, 1, None), target)
