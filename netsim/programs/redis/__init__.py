"""Redis: a server with strings, lists and replication, its followers as images start them, and a client.

``resp`` is the protocol, ``keyspace`` the data, ``server`` what is kept of sessions and replication, and
``commands`` the table of what can be said; ``connections`` serves clients, ``replication`` feeds replicas,
``follower`` is one; ``client`` asks. It emulates Redis 7.0 as far as a guestbook, or somebody with redis-cli,
can tell. Nothing expires or is stored on disk, and there are neither transactions nor channels nor scripts.
"""

from __future__ import annotations

from netsim.programs.host import Host, Invocation, Program


async def redis(host: Host, start: Invocation) -> int:
    """``redis-server`` with its arguments: on port 6379 if they say no other; OSError when it is taken."""
    from netsim.programs.redis.connections import run_server
    from netsim.programs.redis.settings import settings_from_start

    return await run_server(host, settings_from_start(host, start))


async def bitnami_redis(host: Host, start: Invocation) -> int:
    """bitnami/redis: as its environment says."""
    from netsim.programs.redis.connections import run_server
    from netsim.programs.redis.settings import settings_from_bitnami

    return await run_server(host, settings_from_bitnami(start.env))


def guestbook_follower(leader: str) -> Program:
    """A follower image of the guestbook, whose leader is the Service of this name."""

    async def run(host: Host, start: Invocation) -> int:
        from netsim.programs.redis.connections import run_server
        from netsim.programs.redis.settings import leader_of_guestbook, settings_from_start

        settings = settings_from_start(host, start)
        following = settings.leader or leader_of_guestbook(leader, start.env)
        return await run_server(host, settings._replace(leader=following))

    return run
