"""Servers as commands: nginx, redis-server, agnhost, ``python3 -m http.server``."""

from __future__ import annotations

from netsim.programs.host import Invocation
from netsim.programs.tools.call import Call, Failure

HTTP_SERVER_PORT = 8000
"""``python -m http.server``'s default."""


def _invocation(call: Call) -> Invocation:
    return Invocation(call.name, args=call.args, env=call.env, identity=call.context.identity)


async def nginx(call: Call) -> int:
    """With ``daemon off;`` it serves until it is cancelled, without it stays behind in the background."""
    from netsim.programs.images import behaviour_of

    program = behaviour_of("nginx").program(call.host, _invocation(call))
    if any("daemon off" in arg for arg in call.args):
        return await program
    call.host.spawn(program, "nginx")
    return 0


async def redis_server(call: Call) -> int:
    from netsim.programs.redis import redis

    return await redis(call.host, _invocation(call))


async def agnhost(call: Call) -> int:
    """As the image, and with ``connect``'s verdict on stderr."""
    from netsim.programs import agnhost as image

    if call.args[:1] == ("connect",):
        verdict = await image.connect(call.host, call.args[1:])
        if verdict.message:
            call.error(f"{verdict.message}\n")
        return verdict.exit
    return await image.agnhost(call.host, _invocation(call))


async def python(call: Call) -> int:
    """``-m http.server [PORT]``; there is no Python in a Pod otherwise."""
    from netsim.programs.ports import port_to_open
    from netsim.programs.servers import serve_ports, static_files

    args = [arg for arg in call.args if not arg.startswith("-u")]
    if args[:2] != ["-m", "http.server"]:
        raise Failure("netsim runs no Python code in Pods, only -m http.server", 1)
    port = next((arg for arg in args[2:] if arg.isdecimal()), str(HTTP_SERVER_PORT))
    listing = "".join(f'<li><a href="{path}">{path}</a></li>\n' for path in sorted(call.host.files))
    body = f"<h1>Directory listing for /</h1>\n<ul>\n{listing}</ul>"
    index = f"<!DOCTYPE HTML>\n<html>\n<body>\n{body}\n</body>\n</html>\n"
    call.write(f"Serving HTTP on 0.0.0.0 port {port} (http://0.0.0.0:{port}/) ...\n")
    handler = static_files(call.host, "", {"index.html": index}, "SimpleHTTP")
    return await serve_ports(call.host, {port_to_open(port): handler}, "SimpleHTTP")
