"""The one list of what checks can do. ``objects.check_schema`` says how each is written.

To add a verb: a module with its ``Verb``, a line here, a line in the schema, and an example that passes and
one that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsim.base.errors import UsageError
from netsim.checks.capture import capturing
from netsim.checks.connect import CONNECT
from netsim.checks.exec import EXEC
from netsim.checks.http import GET
from netsim.checks.ping import PING
from netsim.checks.query import QUERY
from netsim.checks.resolve import RESOLVE
from netsim.checks.table import TABLE
from netsim.checks.targets import book_of
from netsim.checks.verb import Verb
from netsim.objects.topology import Check

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster


LATENESS = 1.0
"""Virtual seconds by which a check may miss its ``at``."""


def wait_for(cluster: Cluster, check: Check) -> None:
    """Let time pass until the check's ``at``; UsageError when that is over."""
    if check.at is None:
        return
    left = cluster.converged_at + check.at - cluster.now
    if left < -LATENESS:
        now = cluster.now - cluster.converged_at
        raise UsageError(f"cannot begin at {check.at:g} s: what came before it took until {now:g} s")
    if left > 0:
        cluster.advance(left)


async def _carry_out(cluster: Cluster, check: Check) -> None:
    """Do what a check inside of another says; UsageError when it expects something that does not hold."""
    wait_for(cluster, check)
    verb = VERBS[check.verb]
    seen = await verb.observe(cluster, check)
    if not check.expect:
        return
    passed, observed = verb.judge(seen, verb.expectation(check), book_of(cluster))
    if passed is check.negate:
        told = ", ".join(f"{key}: {value}" for key, value in observed.items())
        raise UsageError(f"the check that makes the packets failed, with {told}")


VERBS: dict[str, Verb[Any]] = {
    verb.name: verb for verb in (RESOLVE, QUERY, CONNECT, GET, PING, EXEC, TABLE, capturing(_carry_out))
}
