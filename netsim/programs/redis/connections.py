"""redis-server as a program: the listening socket, and a session for each connection.

Commands come as RESP arrays (client libraries, redis-cli) or inline (telnet, nc).
"""

from __future__ import annotations

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Host, Stream
from netsim.programs.redis.commands import execute
from netsim.programs.redis.follower import follow
from netsim.programs.redis.resp import CommandParser, Words, encode
from netsim.programs.redis.server import Server, Session
from netsim.programs.redis.settings import Settings


async def run_server(host: Host, settings: Settings) -> int:
    """Listen, and serve until cancelled; OSError when the port is taken."""
    listener = await host.listen(settings.port)
    server = Server(host, settings, follow)
    try:
        while True:
            host.spawn(_serve(server, await listener.accept()), "redis-server: client")
    finally:
        listener.close()


async def _serve(server: Server, stream: Stream) -> None:
    """Answer one connection until it ends."""
    session = Session(server, stream)
    server.sessions[session.number] = session
    parser = CommandParser()
    try:
        while not session.closing and (data := await stream.read()):
            parser.feed(data)
            while not session.closing and (command := parser.next()) is not None:
                if command.words:
                    await _answer(session, command.words)
    except WireError as error:
        await _refuse(stream, error)
    except OSError:
        return  # the client is gone
    finally:
        server.replication.detach(session.replica)
        del server.sessions[session.number]
        stream.close()


async def _answer(session: Session, words: Words) -> None:
    reply = encode(execute(session, words))
    if reply:
        name = words[0][:20].upper().decode("latin-1")
        await session.stream.write(reply, cause=Cause(Stage.PROGRAM, f"redis answers {name}"))


async def _refuse(stream: Stream, error: WireError) -> None:
    cause = Cause(Stage.PROGRAM, "redis answers a protocol error")
    text = str(error).partition(": ")[2]
    try:
        await stream.write(f"-ERR Protocol error: {text}\r\n".encode(), cause=cause)
    except OSError:
        return
