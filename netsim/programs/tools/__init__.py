"""The commands that Pods and nodes have: one module per tool or family, imported when first used.

``TOOLS`` is the list: a command's name, and the module and function that run it. A tool is a coroutine
function from a ``Call`` to an exit code, and prints as the real tool prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from netsim.programs.tools.call import Tool

TOOLS: Mapping[str, str] = {
    "[": "basic:test",
    "agnhost": "serving:agnhost",
    "apk": "packages:apk",
    "apt": "packages:apt_get",
    "apt-get": "packages:apt_get",
    "arp": "nettools:arp",
    "ash": "shells:sh",
    "basename": "basic:basename",
    "bash": "shells:sh",
    "busybox": "shells:busybox",
    "cat": "files:cat",
    "chgrp": "files:chown",
    "chmod": "files:chown",
    "chown": "files:chown",
    "clear": "basic:true",
    "curl": "curl:curl",
    "cut": "text:cut",
    "dash": "shells:sh",
    "date": "system:date",
    "dig": "dig:dig",
    "dnf": "packages:yum",
    "echo": "basic:echo",
    "env": "system:env",
    "false": "basic:false",
    "getent": "getent:getent",
    "grep": "text:grep",
    "head": "text:head",
    "host": "host:host",
    "hostname": "system:hostname",
    "id": "system:id_",
    "ifconfig": "nettools:ifconfig",
    "ip": "ip:ip",
    "ls": "files:ls",
    "mkdir": "files:mkdir",
    "mongo": "databases:mongosh",
    "mongosh": "databases:mongosh",
    "mysqladmin": "databases:mysqladmin",
    "nc": "nc:nc",
    "ncat": "nc:nc",
    "netcat": "nc:nc",
    "netstat": "ss:netstat",
    "nginx": "serving:nginx",
    "nohup": "system:nohup",
    "nslookup": "nslookup:nslookup",
    "pg_isready": "databases:pg_isready",
    "ping": "ping:ping",
    "ping6": "ping:ping",
    "printenv": "system:printenv",
    "printf": "basic:printf",
    "ps": "system:ps",
    "python": "serving:python",
    "python3": "serving:python",
    "redis-cli": "redis_cli:redis_cli",
    "redis-server": "serving:redis_server",
    "rm": "files:rm",
    "route": "nettools:route",
    "seq": "basic:seq",
    "sh": "shells:sh",
    "sleep": "system:sleep",
    "sort": "text:sort",
    "ss": "ss:ss",
    "sysctl": "sysctl:sysctl",
    "tail": "text:tail",
    "tee": "files:tee",
    "telnet": "telnet:telnet",
    "test": "basic:test",
    "time": "system:time",
    "timeout": "system:timeout",
    "touch": "files:touch",
    "tr": "text:tr",
    "tracepath": "traceroute:tracepath",
    "traceroute": "traceroute:traceroute",
    "traceroute6": "traceroute:traceroute",
    "true": "basic:true",
    "uname": "system:uname",
    "uniq": "text:uniq",
    "wc": "text:wc",
    "wget": "wget:wget",
    "which": "system:which",
    "whoami": "system:whoami",
    "yum": "packages:yum",
}


def find_tool(name: str) -> Tool | None:
    """The tool of that name, or None."""
    place = TOOLS.get(name)
    if place is None:
        return None
    module, _, function = place.partition(":")
    return cast("Tool", getattr(import_module(f"netsim.programs.tools.{module}"), function))
