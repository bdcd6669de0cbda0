"""telnet as a plain TCP client: connect, print what comes, send stdin; inetutils' words, or busybox's.

A real telnet closes as soon as its stdin ends, before an answer can come. Here it waits for the other side
to close, or for a second of silence, so that ``telnet ent 8080`` with a piped request shows the reply.
"""

from __future__ import annotations

from netsim.programs.host import Endpoint, Stream
from netsim.programs.ports import port_from_text
from netsim.programs.terminal import bytes_from_text, text_from_bytes
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import NameNotFound, addresses_of, family_of
from netsim.programs.tools.options import read_options

TELNET_PORT = 23
SILENCE = 1.0


async def telnet(call: Call) -> int:
    options = read_options(call, "468EFKLacdfrxX:b:e:k:l:n:")
    if not options.operands:
        raise Failure("netsim has no telnet prompt; give a host and a port")
    target = options.operands[0]
    port_text = options.operands[1] if len(options.operands) > 1 else str(TELNET_PORT)
    port = port_from_text(port_text)
    if port is None:
        return _not_found(call, target, port_text, "Servname not supported for ai_socktype")
    try:
        addresses = await addresses_of(call, target, family=family_of(options))
    except NameNotFound as error:
        if call.context.busybox:
            raise Failure(f"bad address '{target}'") from None
        return _not_found(call, target, port_text, error.reason)
    for address in addresses:
        if not call.context.busybox:
            call.write(f"Trying {address}...\n")
        try:
            remote = Endpoint(address, port)
            stream = await call.host.connect(remote, cause=call.cause)
        except OSError as error:
            reason = error.strerror or "Connection timed out"
            if call.context.busybox:
                call.fail(f"can't connect to remote host ({address}): {reason}")
            else:
                call.fail(f"Unable to connect to remote host: {reason}")
            continue
        if call.context.busybox:
            call.write(f"Connected to {target}\n")
        else:
            call.write(f"Connected to {target}.\nEscape character is '^]'.\n")
        return await _converse(call, stream)
    return 1


def _not_found(call: Call, target: str, port: str, reason: str) -> int:
    call.write(f"Server lookup failure:  {target}:{port}, {reason}\n")
    return 1


async def _converse(call: Call, stream: Stream) -> int:
    """Send stdin line by line ended as a terminal ends them, print what comes."""
    text = call.stdin.read()
    try:
        if text:
            lines = text.replace("\r\n", "\n").replace("\n", "\r\n")
            await stream.write(bytes_from_text(lines), cause=call.cause)
        while data := await stream.read(timeout=SILENCE):
            call.write(text_from_bytes(data))
        end = "Connection closed by foreign host."
    except TimeoutError:
        end = "Connection closed."
    except OSError:
        end = "Connection closed by foreign host."
    finally:
        stream.close()
    if not call.context.busybox:
        call.error(f"{end}\n")
    return 0
