"""What a redis-server was started with: its arguments, a configuration file, or the environment of an image.

``redis-server [FILE] [--option value…]`` as server.c reads it: options win over the file. Only what a network
notices has an effect; everything else is taken and let be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from netsim.programs.host import Host, Invocation
from netsim.programs.ports import port_to_open
from netsim.programs.redis.replication import Leader
from netsim.programs.redis.resp import split_words

PORT = 6379


class Settings(NamedTuple):
    """``leader``: whom to follow from the start. A password is asked for unless it is empty."""

    port: int = PORT
    leader: Leader | None = None
    password: str = ""
    leader_password: str = ""


def settings_from_start(host: Host, start: Invocation) -> Settings:
    """Read the arguments, and the file that they name if there is one; OSError EINVAL for a bad port."""
    args = list(start.args)
    lines: list[list[str]] = []
    if args and not args[0].startswith("-"):
        lines += _words_of(host.files.get(args.pop(0), ""))
    lines += _options(args)
    return _settings(lines)


def _words_of(text: str) -> list[list[str]]:
    """The lines of a redis.conf, without blank ones and comments."""
    split = (split_words(line.encode()) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [[word.decode() for word in words] for words in split if words]


def _options(args: list[str]) -> list[list[str]]:
    """``--name value…`` up to the next ``--``; one argument may hold it all, as manifests have it."""
    lines: list[list[str]] = []
    for arg in args:
        words = arg.split() or [""]
        if words[0].startswith("--"):
            lines.append([words[0][2:], *words[1:]])
        elif lines:
            lines[-1] += words
    return lines


def _settings(lines: list[list[str]]) -> Settings:
    settings = Settings()
    for name, *values in lines:
        match name.lower(), values:
            case "port", [port]:
                settings = settings._replace(port=port_to_open(port))
            case (("replicaof" | "slaveof"), [first, second]) if (first.lower(), second.lower()) == (
                "no",
                "one",
            ):
                settings = settings._replace(leader=None)
            case (("replicaof" | "slaveof"), [address, port]):
                settings = settings._replace(leader=Leader(address, port_to_open(port)))
            case "requirepass", [password]:
                settings = settings._replace(password=password)
            case "masterauth", [password]:
                settings = settings._replace(leader_password=password)
    return settings


def settings_from_bitnami(env: Mapping[str, str]) -> Settings:
    """bitnami/redis is told by its environment (its ``libredis.sh``), in old words or new ones."""
    leader = None
    if env.get("REDIS_REPLICATION_MODE") in ("slave", "replica"):
        port = env.get("REDIS_MASTER_PORT_NUMBER") or str(PORT)
        leader = Leader(env.get("REDIS_MASTER_HOST", ""), port_to_open(port))
    return Settings(
        port_to_open(env.get("REDIS_PORT_NUMBER") or str(PORT)),
        leader,
        env.get("REDIS_PASSWORD", ""),
        env.get("REDIS_MASTER_PASSWORD", ""),
    )


def leader_of_guestbook(service: str, env: Mapping[str, str]) -> Leader:
    """Whom the guestbook's follower images follow, as their run.sh has it: the Service by its DNS name, or
    its address from the environment with GET_HOSTS_FROM=env."""
    return Leader(guestbook_host(service, env), PORT)


def guestbook_host(service: str, env: Mapping[str, str]) -> str:
    """A Service of the guestbook as its images find it: ``redis-leader``, or REDIS_LEADER_SERVICE_HOST."""
    if env.get("GET_HOSTS_FROM") == "env":
        return env.get(f"{service.upper().replace('-', '_')}_SERVICE_HOST", "")
    return service
