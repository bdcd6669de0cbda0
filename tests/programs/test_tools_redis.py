"""redis-cli, as into a pipe and as to a terminal."""

from __future__ import annotations

import pytest

from netsim.programs.redis import redis

from .playground import Playground


@pytest.mark.parametrize(
    ("command", "piped", "at_a_terminal"),
    [
        ("GET nope", "\n", "(nil)\n"),
        ("PING", "PONG\n", "PONG\n"),
        ("INCR n", "1\n", "(integer) 1\n"),
        ("SET k v", "OK\n", "OK\n"),
        ("ECHO 'a \"b\"\\n'", 'a "b"\\n\n', '"a \\"b\\"\\\\n"\n'),
        ("LRANGE l 0 -1", "\n", "(empty array)\n"),
        ("RPUSH l a b c", "3\n", "(integer) 3\n"),
        (
            "FLY",
            "ERR unknown command 'FLY', with args beginning with: \n\n",
            "(error) ERR unknown command 'FLY', with args beginning with: \n",
        ),
        (
            "ROLE",
            "master\n0\n\n",
            '1) "master"\n2) (integer) 0\n3) (empty array)\n',
        ),
        ("INFO keyspace", "# Keyspace\r\n", "# Keyspace\r\n"),
    ],
)
def test_replies_are_printed_as_the_real_one_prints_them(
    command: str, piped: str, at_a_terminal: str
) -> None:
    for option, expected in (("", piped), ("--no-raw", at_a_terminal)):
        site = Playground()
        site.serve(redis)
        outcome = site.shell(f"redis-cli -h 10.244.2.9 {option} {command}")
        assert outcome == (0, expected, "")


def test_many_elements_are_numbered_in_a_column_and_nested_ones_indented() -> None:
    site = Playground()
    site.serve(redis)
    site.shell("redis-cli -h 10.244.2.9 RPUSH l 1 2 3 4 5 6 7 8 9 10")
    shown = site.shell("redis-cli -h 10.244.2.9 --no-raw LRANGE l 0 -1").stdout
    assert shown.startswith(' 1) "1"\n 2) "2"\n')
    assert shown.endswith('\n10) "10"\n')
    shown = site.shell("redis-cli -h 10.244.2.9 --no-raw COMMAND INFO get nope").stdout
    assert shown.startswith('1)  1) "get"\n    2) (integer) 2\n    3) 1) readonly\n    4) (integer) 1\n')
    assert shown.endswith("2) (nil)\n")


def test_lines_of_stdin_are_commands_and_the_last_word_may_come_from_there() -> None:
    site = Playground()
    site.serve(redis)
    outcome = site.shell(
        'printf \'SET k "a b"\\n\\nGET k\\nSET "x\\nquit\\nPING\\n\' | redis-cli -h 10.244.2.9'
    )
    assert outcome == (0, "OK\na b\nInvalid argument(s)\n", "")
    site.shell("printf 'c d' | redis-cli -h 10.244.2.9 -n 2 -x SET k")
    assert site.shell("redis-cli -u redis://10.244.2.9:6379/2 GET k").stdout == "c d\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("redis-cli PING", "Could not connect to Redis at 127.0.0.1:6379: Connection refused\n"),
        ("redis-cli -h nope -p 1 PING", "Could not connect to Redis at nope:1: Name or service not known\n"),
        ("redis-cli --foo", "Unrecognized option or bad number of args for: '--foo'\n"),
    ],
)
def test_what_cannot_be_done_is_said_on_stderr(line: str, complaint: str) -> None:
    assert Playground().shell(line) == (1, "", complaint)


def test_a_command_is_repeated_at_its_interval() -> None:
    site = Playground()
    site.serve(redis)
    began = site.plane.now
    assert site.shell("redis-cli -h 10.244.2.9 -r 3 -i 2 INCR n").stdout == "1\n2\n3\n"
    assert 4 < site.plane.now - began < 4.1
    assert site.shell("redis-cli -h 10.244.2.9 -e FLY").exit == 1
