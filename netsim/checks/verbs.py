"""The one list of what checks can do. ``objects.check_schema`` says how each is written.

To add a verb: a module with its ``Verb``, a line here, a line in the schema, and an example that passes and
one that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsim.checks.capture import capturing
from netsim.checks.connect import CONNECT
from netsim.checks.exec import EXEC
from netsim.checks.http import GET
from netsim.checks.ping import PING
from netsim.checks.query import QUERY
from netsim.checks.resolve import RESOLVE
from netsim.checks.table import TABLE
from netsim.checks.verb import Verb
from netsim.objects.topology import Check

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster


async def carry_out(cluster: Cluster, check: Check) -> Any:
    """Do what a check says and give the observation of its verb; UsageError when that cannot be done."""
    return await VERBS[check.verb].observe(cluster, check)


VERBS: dict[str, Verb[Any]] = {
    verb.name: verb for verb in (RESOLVE, QUERY, CONNECT, GET, PING, EXEC, TABLE, capturing(carry_out))
}
