"""Redis: what each command answers, what its protocol takes and refuses, and how it is started."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.programs.host import Host, Invocation
from netsim.programs.redis import bitnami_redis, redis
from netsim.programs.redis.glob import matches
from netsim.programs.redis.replication import Leader
from netsim.programs.redis.resp import (
    CommandParser,
    ErrorReply,
    NilArray,
    ReplyParser,
    Status,
    encode,
    encode_command,
    split_words,
)
from netsim.programs.redis.settings import (
    Settings,
    guestbook_host,
    settings_from_bitnami,
    settings_from_start,
)

from .playground import Playground


def redis_says(site: Playground, text: str) -> str:
    return site.shell(f"printf '{text}' | nc -w 1 10.244.2.9 6379").stdout


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        ("PING", "+PONG\r\n"),
        ("ping hello", "$5\r\nhello\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("ECHO hi", "$2\r\nhi\r\n"),
        ("GET nothing", "$-1\r\n"),
        ("SET k v|GET k", "+OK\r\n$1\r\nv\r\n"),
        ("SET k v NX|SET k w NX|GET k", "+OK\r\n$-1\r\n$1\r\nv\r\n"),
        ("SET k v XX|EXISTS k", "$-1\r\n:0\r\n"),
        ("SET k v GET|SET k w get|GET k", "$-1\r\n$1\r\nv\r\n$1\r\nw\r\n"),
        ("SET k v NX XX", "-ERR syntax error\r\n"),
        ("SET k v EX 10", "-ERR keys do not expire in netsim\r\n"),
        ("INCR n|INCR n|DECR n|INCRBY n 40", ":1\r\n:2\r\n:1\r\n:41\r\n"),
        ("SET n bob|INCR n", "+OK\r\n-ERR value is not an integer or out of range\r\n"),
        (
            "SET n 9223372036854775807|INCR n",
            "+OK\r\n-ERR increment or decrement would overflow\r\n",
        ),
        ("APPEND k ab|APPEND k c|STRLEN k", ":2\r\n:3\r\n:3\r\n"),
        ("LPUSH l a b|RPUSH l c|LRANGE l 0 -1", ":2\r\n:3\r\n*3\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\nc\r\n"),
        ("RPUSH l a b c|LPOP l|RPOP l|LLEN l", ":3\r\n$1\r\na\r\n$1\r\nc\r\n:1\r\n"),
        ("RPUSH l a b c|RPOP l 2|LPOP l 0", ":3\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n*0\r\n"),
        ("LPOP l|LPOP l 2|LPOP l -1", "$-1\r\n*-1\r\n-ERR value is out of range, must be positive\r\n"),
        ("RPUSH l a|LPOP l|EXISTS l", ":1\r\n$1\r\na\r\n:0\r\n"),
        ("RPUSH l a b c|LRANGE l -2 9|LRANGE l 2 1", ":3\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n*0\r\n"),
        (
            "SET s x|LPUSH s y",
            "+OK\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (
            "LPUSH l x|GET l|INCR l",
            ":1\r\n" + "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" * 2,
        ),
        ("SET a 1|RPUSH b 2|TYPE a|TYPE b|TYPE c", "+OK\r\n:1\r\n+string\r\n+list\r\n+none\r\n"),
        ("MSET ab 1 ac 2 b 3|KEYS a*|DBSIZE", "+OK\r\n*2\r\n$2\r\nab\r\n$2\r\nac\r\n:3\r\n"),
        ("SET a 1|DEL a b|EXISTS a", "+OK\r\n:1\r\n:0\r\n"),
        ("SET a 1|SELECT 1|GET a|SELECT 16", "+OK\r\n+OK\r\n$-1\r\n-ERR DB index is out of range\r\n"),
        ("SET a 1|SELECT 1|FLUSHALL|SELECT 0|DBSIZE", "+OK\r\n" * 4 + ":0\r\n"),
        ("CONFIG GET replica-read*", "*2\r\n$17\r\nreplica-read-only\r\n$3\r\nyes\r\n"),
        ("CONFIG SET x y", "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"),
        ("CLIENT SETNAME me|CLIENT GETNAME|CLIENT ID", "+OK\r\n$2\r\nme\r\n:1\r\n"),
        ("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command\r\n"),
        ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        ("REPLCONF capa eof|REPLCONF ack 1|REPLCONF x", "+OK\r\n-ERR syntax error\r\n"),
        ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
        (
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?\r\n",
        ),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("FLY me there", "-ERR unknown command 'FLY', with args beginning with: 'me' 'there' \r\n"),
        ("QUIT|PING", "+OK\r\n"),
        ('SET k "a b\\\\x21"|GET k', "+OK\r\n$4\r\na b!\r\n"),
        ('GET "x', "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ],
)
def test_a_command_is_answered_as_redis_answers_it(commands: str, reply: str) -> None:
    site = Playground()
    site.serve(redis)
    assert redis_says(site, commands.replace("|", "\\r\\n") + "\\r\\n") == reply


def test_data_stay_between_connections_and_arrays_are_read_as_lines_are() -> None:
    site = Playground()
    site.serve(redis)
    assert redis_says(site, "*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$5\\r\\na b c\\r\\n") == "+OK\r\n"
    assert redis_says(site, "GET k\\r\\n") == "$5\r\na b c\r\n"


def test_it_hangs_up_at_quit() -> None:
    site = Playground()
    site.serve(redis)
    began = site.plane.now
    assert redis_says(site, "QUIT\\r\\nPING\\r\\n") == "+OK\r\n"
    assert site.plane.now - began < 0.1


@pytest.mark.parametrize(
    ("nonsense", "complaint"),
    [
        ("*x\\r\\n", "invalid multibulk length"),
        ("*1\\r\\nGET\\r\\n", "expected '$', got 'G'"),
        ("*1\\r\\n$999999999\\r\\n", "invalid bulk length"),
        ("*1\\r\\n$-1\\r\\n", "invalid bulk length"),
    ],
)
def test_what_is_not_its_protocol_is_refused_and_nobody_else_suffers(nonsense: str, complaint: str) -> None:
    site = Playground()
    site.serve(redis)
    assert redis_says(site, nonsense) == f"-ERR Protocol error: {complaint}\r\n"
    assert redis_says(site, "PING\\r\\n") == "+PONG\r\n"


def test_empty_commands_are_passed_over() -> None:
    site = Playground()
    site.serve(redis)
    assert redis_says(site, "*0\\r\\n\\r\\n*-1\\r\\nPING\\r\\n") == "+PONG\r\n"


words = st.lists(st.binary(max_size=12), min_size=1, max_size=6)


@given(st.lists(words, min_size=1, max_size=5), st.integers(1, 40))
def test_commands_survive_being_cut_anywhere(commands: list[list[bytes]], step: int) -> None:
    data = b"".join(encode_command(*command) for command in commands)
    parser, seen = CommandParser(), []
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
        while (command := parser.next()) is not None:
            seen.append(command)
    assert [list(command.words) for command in seen] == commands
    assert b"".join(command.raw for command in seen) == data


texts = st.text("abc XYZ", max_size=8)
plain = st.one_of(
    texts.map(lambda text: Status(text.encode())), texts.map(ErrorReply), st.just(NilArray()),
    st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=12), st.none(),
)  # fmt: skip
replies = st.recursive(plain, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)


@given(replies, st.integers(1, 20))
def test_a_client_reads_what_a_server_writes(reply: object, step: int) -> None:
    data = encode(reply)  # type: ignore[arg-type]  # hypothesis gives the recursive type no name
    parser = ReplyParser()
    for start in range(0, len(data), step):
        assert parser.next() is None
        parser.feed(data[start : start + step])
    assert parser.next() == (reply,)
    assert parser.rest == b""


@given(st.binary(max_size=60))
def test_no_bytes_bring_the_parsers_down(data: bytes) -> None:
    for parser in (CommandParser(), ReplyParser()):
        parser.feed(data)
        try:
            while parser.next() is not None:
                continue
        except WireError:
            continue


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"  set k   v ", (b"set", b"k", b"v")),
        (b'set k "a b\\n\\x41\\q"', (b"set", b"k", b"a b\nAq")),
        (b"set k 'it\\'s \\n'", (b"set", b"k", b"it's \\n")),
        (b'foo"bar"', (b"foobar",)),
        (b'""', (b"",)),
        (b'"a"b', None),
        (b"'a", None),
        (b"", ()),
    ],
)
def test_lines_are_split_as_sdssplitargs_splits_them(line: bytes, expected: tuple[bytes, ...] | None) -> None:
    assert split_words(line) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h*o", b"ho", True),
        (b"h[ae]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[a-b]llo", b"hbllo", True),
        (b"a\\*", b"a*", True),
        (b"a\\*", b"ab", False),
        (b"a.c", b"abc", False),
        (b"", b"", True),
    ],
)
def test_patterns_fit_as_in_redis(pattern: bytes, text: bytes, fits: bool) -> None:
    assert matches(pattern, text) is fits


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ((), Settings()),
        (("--port", "7000"), Settings(7000)),
        (("--slaveof", "redis-master", "6379"), Settings(leader=Leader("redis-master", 6379))),
        (
            ("--replicaof redis-leader 6379", "--appendonly yes"),
            Settings(leader=Leader("redis-leader", 6379)),
        ),
        (("--replicaof", "no", "one"), Settings()),
        (
            ("/etc/redis.conf", "--port", "7001"),
            Settings(7001, Leader("boss", 6380), "secret", "other"),
        ),
        (("/nowhere.conf",), Settings()),
    ],
)
def test_arguments_and_files_say_what_to_be(args: tuple[str, ...], settings: Settings) -> None:
    host: Host = Playground().server
    host.files["/etc/redis.conf"] = (
        "# mine\nport 7000\n\nreplicaof boss 6380\nrequirepass secret\nmasterauth other\n"
    )
    assert settings_from_start(host, Invocation("redis", args=args)) == settings


def test_bitnami_is_told_by_its_environment() -> None:
    env = {
        "REDIS_REPLICATION_MODE": "slave",
        "REDIS_MASTER_HOST": "boss",
        "REDIS_PASSWORD": "secret",
        "REDIS_MASTER_PASSWORD": "other",
    }
    assert settings_from_bitnami(env) == Settings(6379, Leader("boss", 6379), "secret", "other")
    site = Playground()
    site.serve(bitnami_redis, Invocation("bitnami/redis", env={"REDIS_PASSWORD": "x y"}))
    assert redis_says(site, 'GET k\\r\\nAUTH no\\r\\nAUTH "x y"\\r\\nGET k\\r\\n') == (
        "-NOAUTH Authentication required.\r\n"
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n$-1\r\n"
    )


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ({}, "redis-master"),
        ({"GET_HOSTS_FROM": "dns", "REDIS_MASTER_SERVICE_HOST": "10.96.0.7"}, "redis-master"),
        ({"GET_HOSTS_FROM": "env", "REDIS_MASTER_SERVICE_HOST": "10.96.0.7"}, "10.96.0.7"),
        ({"GET_HOSTS_FROM": "env"}, ""),
    ],
)
def test_the_guestbook_finds_its_redis_by_name_or_by_environment(env: dict[str, str], host: str) -> None:
    assert guestbook_host("redis-master", env) == host
