"""The mini-shell: what scripts do, with dash as the judge where it is there, and what only netsim decides."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from netsim.base.errors import UsageError
from netsim.programs.shell.expand import ExpansionError, arithmetic
from netsim.programs.shell.parser import parse
from netsim.programs.shell.tree import ShellSyntaxError

from .playground import Playground, Screen

# script, stdout, exit code: all that POSIX defines, so that dash agrees
SCRIPTS = (
    ("echo a b  c", "a b c\n", 0),
    ("echo 'a  b' \"c  d\"", "a  b c  d\n", 0),
    ("echo a\\ b \\$x \\\\", "a b $x \\\n", 0),
    ('x=1; y="$x 2"; echo $y "$y" \'$y\'', "1 2 1 2 $y\n", 0),
    ("x='a   b'; echo $x; echo \"$x\"", "a b\na   b\n", 0),
    ('x=; echo [$x] ["$x"]', "[] []\n", 0),
    ("for i in 1 2 3; do echo $i; done", "1\n2\n3\n", 0),
    ("for i in $(seq 3) x; do printf '%s,' $i; done", "1,2,3,x,", 0),
    ("for i in a b; do for j in 1 2; do [ $j = 2 ] && continue 2; echo $i$j; done; done", "a1\nb1\n", 0),
    ("i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; done", "1\n2\n3\n", 0),
    ("i=0; until [ $i -ge 2 ]; do i=$((i + 1)); done; echo $i", "2\n", 0),
    ("while true; do echo once; break; done", "once\n", 0),
    ("if true; then echo yes; else echo no; fi", "yes\n", 0),
    ("if false; then echo 1; elif [ 2 -gt 1 ]; then echo 2; else echo 3; fi", "2\n", 0),
    ("if ! false; then echo yes; fi", "yes\n", 0),
    ("true && echo a || echo b", "a\n", 0),
    ("false && echo a || echo b", "b\n", 0),
    ("false; echo $?", "1\n", 0),
    ("false", "", 1),
    ("! true", "", 1),
    ("exit 3; echo never", "", 3),
    ("(exit 4); echo $?", "4\n", 0),
    ("x=1; (x=2; echo $x); echo $x", "2\n1\n", 0),
    ("{ echo a; echo b; } | wc -l | tr -d ' '", "2\n", 0),
    ("echo hello | tr a-z A-Z", "HELLO\n", 0),
    ("printf 'b\\na\\n' | sort | head -n 1", "a\n", 0),
    ("printf '%s\\n' one two", "one\ntwo\n", 0),
    ("printf '%d-%05d-%x-%5s|%-5s|\\n' 7 42 255 ab cd", "7-00042-ff-   ab|cd   |\n", 0),
    ("echo one; echo two >/dev/null; echo three", "one\nthree\n", 0),
    ("echo oops >&2", "", 0),
    ("{ echo out; echo err >&2; } 2>&1", "out\nerr\n", 0),
    ("echo a > /tmp/netsim-x; echo b >> /tmp/netsim-x; cat < /tmp/netsim-x; rm /tmp/netsim-x", "a\nb\n", 0),
    ("cat <<EOF\nx is ${x:-unset}\nEOF", "x is unset\n", 0),
    ("x=1; cat <<'EOF'\n$x\nEOF", "$x\n", 0),
    ("cat <<EOF | grep b\na\nb\nEOF", "b\n", 0),
    ("echo $(echo `echo deep`)", "deep\n", 0),
    ("echo \"$(printf 'a\\n\\n')b\"", "ab\n", 0),
    ("echo ${x:-default} ${x-other} ${x:+set}", "default other\n", 0),
    ("x=v; echo ${x:-default} ${x:+set} ${#x}", "v set 1\n", 0),
    ("echo ${x:=assigned}; echo $x", "assigned\nassigned\n", 0),
    ("f=web-0.ent.dev; echo ${f%%.*} ${f%.*} ${f#*.} ${f##*.}", "web-0 web-0.ent ent.dev dev\n", 0),
    (
        "echo $((1 + 2 * 3)) $(((1+2)*3)) $((7/2)) $((-7/2)) $((7%3)) $((3>2)) $((1&&0))",
        "7 9 3 -3 1 1 0\n",
        0,
    ),
    ("set -- a 'b c'; echo $#; for i in \"$@\"; do echo $i; done; shift; echo $1", "2\na\nb c\nb c\n", 0),
    ('set -- ; for i in "$@"; do echo never; done; echo $#', "0\n", 0),
    ("set -e; false; echo never", "", 1),
    ("set -e; false || true; if false; then :; fi; echo on", "on\n", 0),
    ("A=1 env | grep '^A='; echo [$A]", "A=1\n[]\n", 0),
    ("A=1; env | grep -c '^A='; export A; env | grep '^A='", "0\nA=1\n", 0),
    ("export B=2; sh -c 'echo $B'", "2\n", 0),
    ("sh -c 'echo $0 $1' name arg", "name arg\n", 0),
    ("printf 'a b\\nc d\\n' | while read x y; do echo $y-$x; done", "b-a\nd-c\n", 0),
    ("eval 'x=1; echo $x'", "1\n", 0),
    ("# a comment\necho a # another\necho b", "a\nb\n", 0),
    ("echo a \\\n b", "a b\n", 0),
    ("echo a; # nothing\n\n\necho b", "a\nb\n", 0),
    ("true & wait; echo $?", "0\n", 0),
    ("cd /tmp; pwd", "/tmp\n", 0),
    (
        "test -n '' || echo empty; test a = a && test 1 -ne 2 && [ ! -e /nope ] && echo fine",
        "empty\nfine\n",
        0,
    ),
    ("[ a = a -a b = c ] || echo no", "no\n", 0),
    ("command -v cd >/dev/null && command -v no-such-tool || echo none", "none\n", 0),
    ("echo 'a\\tb'", "a\tb\n", 0),
    ("echo -n a; echo b", "ab\n", 0),
    ("exec echo last; echo never", "last\n", 0),
    ("trap 'x' EXIT 2>/dev/null; :; echo ok", "ok\n", 0),
    ("f() { echo $1-$#; }; f a b; f", "a-2\n-0\n", 0),
    ("f() { return 3; echo never; }; f; echo $?", "3\n", 0),
    ("greet() {\n  local name=$1\n  echo hi $name\n}\nset -- x; greet you; echo $1", "hi you\nx\n", 0),
    ("f() { echo in; exit 4; }; f; echo never", "in\n", 4),
    ("f() (x=2; echo $x); x=1; f; echo $x", "2\n1\n", 0),
    ("f() { echo out; } ; f | tr a-z A-Z; x=$(f); echo $x", "OUT\nout\n", 0),
    ("case web-0 in db*) echo db;; web-*|www) echo web;; *) echo other;; esac", "web\n", 0),
    ("x=b; case $x in\n  a) echo a ;;\n  (b) echo b; echo b2\nesac", "b\nb2\n", 0),
    ("case x in a) echo a;; esac; echo $?", "0\n", 0),
    ("for i in 1 2; do case $i in 2) break;; esac; echo $i; done", "1\n", 0),
    ("echo a;echo b&&echo c||echo d", "a\nb\nc\n", 0),
    ('if [ -z "$NOPE" ]; then echo unset; fi', "unset\n", 0),
    ("seq 1 2 5 | tail -n 1", "5\n", 0),
    ("printf 'x y z' | cut -d' ' -f2,3", "y z\n", 0),
    ("printf 'a\\na\\nb\\n' | uniq -c | tr -s ' ' | cut -d' ' -f2-", "2 a\n1 b\n", 0),
    ("printf 'eth0\\nlo\\n' | grep -v lo", "eth0\n", 0),
    ("printf 'a1\\nb2\\n' | grep -E '^(a|b)[0-9]$' | wc -l | tr -d ' '", "2\n", 0),
    ("echo abc | grep -q z; echo $?", "1\n", 0),
)


@pytest.fixture(scope="module")
def site() -> Playground:
    return Playground()


@pytest.mark.parametrize(("script", "stdout", "code"), SCRIPTS, ids=[script for script, _, _ in SCRIPTS])
def test_a_script_writes_and_ends_as_in_a_posix_shell(
    site: Playground, script: str, stdout: str, code: int
) -> None:
    outcome = site.shell(script)
    assert (outcome.stdout, outcome.exit) == (stdout, code), outcome.stderr


@pytest.mark.needs("dash")
def test_dash_agrees_with_the_table_of_scripts() -> None:
    dash = shutil.which("dash")
    assert dash is not None
    # trap's EXIT command is the one thing that netsim leaves out
    for script, stdout, code in SCRIPTS:
        if "trap" in script:
            continue
        ran = subprocess.run(
            [dash, "-c", script], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
        )
        assert (ran.stdout, ran.returncode) == (stdout, code), script


@pytest.mark.parametrize(
    ("argv", "busybox", "stderr"),
    [
        (("sh", "-c", "foo"), False, "sh: 1: foo: not found\n"),
        (("sh", "-c", "true\nfoo"), False, "sh: 2: foo: not found\n"),
        (("bash", "-c", "foo"), False, "bash: line 1: foo: command not found\n"),
        (("sh", "-c", "foo"), True, "sh: foo: not found\n"),
        (
            ("foo",),
            False,
            "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "foo": executable file not found in $PATH: unknown\n',
        ),
    ],
)
def test_an_unknown_command_is_127_in_the_words_of_its_shell(
    site: Playground, argv: tuple[str, ...], busybox: bool, stderr: str
) -> None:
    outcome = site.command(*argv, busybox=busybox)
    assert (outcome.exit, outcome.stdout, outcome.stderr) == (127, "", stderr)


@pytest.mark.parametrize(
    ("script", "stderr"),
    [
        ('echo "a', "sh: 1: Syntax error: Unterminated quoted string\n"),
        ("if true; then", 'sh: 1: Syntax error: end of file unexpected (expecting "fi")\n'),
        ("for i in 1; do echo; done; (", 'sh: 1: Syntax error: end of file unexpected (expecting ")")\n'),
        ("done", 'sh: 1: Syntax error: "done" unexpected\n'),
        ("echo a\necho ${", "sh: 2: Syntax error: Bad substitution\n"),
    ],
)
def test_a_syntax_error_is_exit_2_with_its_line(site: Playground, script: str, stderr: str) -> None:
    outcome = site.shell(script)
    assert (outcome.exit, outcome.stdout, outcome.stderr) == (2, "", stderr)


@pytest.mark.parametrize(
    ("argv", "busybox", "code", "stderr"),
    [
        (("sh", "-c", "cat < /nope"), False, 2, "sh: 1: cannot open /nope: No such file\n"),
        (("bash", "-c", "cat < /nope"), False, 1, "bash: line 1: /nope: No such file or directory\n"),
        (("sh", "-c", "cat < /nope"), True, 1, "sh: can't open /nope: no such file\n"),
        (("cat", "/nope"), False, 1, "cat: /nope: No such file or directory\n"),
        (("cat", "/nope"), True, 1, "cat: can't open '/nope': No such file or directory\n"),
        (("sh", "-c", ": ${x:?is missing}"), False, 2, "sh: 1: x: is missing\n"),
        (
            ("sleep", "x"),
            False,
            1,
            "sleep: invalid time interval ‘x’\nTry 'sleep --help' for more information.\n",
        ),
    ],
)
def test_what_goes_wrong_is_said_in_the_words_of_the_real_program(
    site: Playground, argv: tuple[str, ...], busybox: bool, code: int, stderr: str
) -> None:
    outcome = site.command(*argv, busybox=busybox)
    assert (outcome.exit, outcome.stderr) == (code, stderr)


def test_files_that_a_script_writes_are_the_hosts() -> None:
    site = Playground()
    site.shell("cd /srv; echo hello > page; cat page page >> /srv/twice")
    assert site.jump.files["/srv/page"] == "hello\n"
    assert site.jump.files["/srv/twice"] == "hello\nhello\n"


def test_a_script_in_a_file_runs_by_its_path_with_its_arguments() -> None:
    site = Playground()
    site.jump.files["/opt/greet.sh"] = "#!/bin/sh\necho hello $1\n"
    assert site.command("/opt/greet.sh", "you").stdout == "hello you\n"
    assert site.command("sh", "/opt/greet.sh", "me").stdout == "hello me\n"


def test_stdin_is_the_script_of_a_shell_without_arguments(site: Playground) -> None:
    assert site.command("sh", stdin="echo a\necho b\n").stdout == "a\nb\n"


def test_stdin_goes_to_the_command(site: Playground) -> None:
    assert site.command("cat", stdin="typed\n").stdout == "typed\n"


def test_a_tool_is_found_by_its_usual_path_and_not_by_another(site: Playground) -> None:
    assert site.command("/bin/echo", "a").stdout == "a\n"
    assert site.command("/opt/echo", "a").exit == 127


def test_sleep_takes_virtual_time(site: Playground) -> None:
    began = site.plane.now
    site.shell("sleep 90; sleep 0.5; sleep 1m")
    assert site.plane.now - began == pytest.approx(150.5)


def test_output_appears_on_the_terminal_when_it_is_written() -> None:
    site = Playground()
    screen = Screen(site.jump)
    began = round(site.plane.now, 3)
    site.shell("echo a; sleep 2; echo b >&2", terminal=screen)
    assert [(round(time - began, 3), text) for time, text in screen.seen] == [(0.0, "a\n"), (2.0, "b\n")]


def test_a_loop_that_waits_for_nothing_lets_time_pass(site: Playground) -> None:
    outcome = site.shell("timeout 1 sh -c 'while :; do :; done'; echo $?")
    assert outcome.stdout == "124\n"


def test_timeout_stops_the_command_where_it_waits(site: Playground) -> None:
    began = site.plane.now
    assert site.shell("timeout 2 sleep 100").exit == 124
    assert site.plane.now - began == pytest.approx(2)
    assert site.shell("timeout 2 sleep 1; echo $?").stdout == "0\n"


def test_a_background_job_runs_beside_the_shell(site: Playground) -> None:
    assert site.shell("(sleep 2; echo late) & echo early; wait").stdout == "early\nlate\n"


def test_the_environment_is_the_containers_and_a_shells_own(site: Playground) -> None:
    outcome = site.command("env", env={"GREETING": "hi"})
    assert outcome.stdout.splitlines() == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=jump",
        "GREETING=hi",
        "HOME=/root",
    ]


def test_bytes_that_are_no_text_pass_through_a_pipe(site: Playground) -> None:
    site.jump.files["/bytes"] = b"\xff\x00a".decode("utf-8", "surrogateescape")
    assert site.shell("cat /bytes | cat").stdout.encode("utf-8", "surrogateescape") == b"\xff\x00a"


def test_an_empty_command_line_is_the_callers_mistake(site: Playground) -> None:
    with pytest.raises(UsageError, match="no command to run"):
        site.command()


def test_server_commands_run_in_the_background_of_a_shell() -> None:
    site = Playground()
    outcome = site.shell("redis-server & sleep 0.1; printf 'PING\\r\\n' | nc -w 1 127.0.0.1 6379")
    assert outcome.stdout == "+PONG\r\n"
    outcome = site.shell(
        "python3 -m http.server 8000 >/dev/null & sleep 0.1; curl -s 127.0.0.1:8000/etc/hosts"
    )
    assert outcome.stdout == site.jump.files["/etc/hosts"]
    assert "Welcome to nginx!" in site.shell("nginx; sleep 0.1; curl -s 127.0.0.1").stdout


@pytest.mark.parametrize(
    ("source", "value"),
    [("", 0), ("x", 5), ("$x+1", 6), ("1-2-3", -4), ("!x", 0), ("-x", -5), ("2*(x-1)", 8), ("y", 0)],
)
def test_arithmetic_has_the_precedence_and_signs_of_c(source: str, value: int) -> None:
    assert arithmetic(source, {"x": "5"}) == value


@pytest.mark.parametrize("source", ["1 +", "(1", "1 $ 2", "a b", "@", "1/0", "1%0"])
def test_arithmetic_refuses_what_is_none(source: str) -> None:
    with pytest.raises(ExpansionError):
        arithmetic(source, {})


@pytest.mark.parametrize(
    "text",
    [
        "echo $(",
        "echo `a",
        "echo $((1",
        "a | ",
        "&& a",
        "for 1 in a; do b; done",
        "{ a",
        "case x in a)",
        "f() ",
        "f( a",
    ],
)
def test_the_parser_refuses_what_does_not_end(text: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse(text)


def test_a_script_that_calls_itself_without_end_is_stopped() -> None:
    site = Playground()
    site.jump.files["/again"] = "/again\n"
    outcome = site.command("/again")
    assert outcome.exit != 0
    assert outcome.stderr == "again: 1: too many shells within shells\n"
    outcome = site.shell("x() { x; }; x; echo never")
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert outcome.stderr == "sh: 1: x: too many calls within calls\n"


def test_a_port_in_use_is_said_in_the_kernels_words() -> None:
    outcome = Playground().shell("nc -lk 7000 & sleep 0.1; nc -l 7000")
    assert (outcome.exit, outcome.stderr) == (1, "nc: Address already in use\n")


# --- [[ ]] -----------------------------------------------------------------------------------------------

CONDITIONALS = (
    ("[[ a ]]", 0),
    ('[[ "" ]]', 1),
    ("x='a  b'; [[ $x == 'a  b' ]]", 0),
    ("x=; [[ $x -ne 0 ]]", 1),
    ("x=; [[ $x == '' ]]", 0),
    ("[[ -z $nothing ]]", 0),
    ("[[ -n $nothing ]]", 1),
    ("[[ ! -n $nothing ]]", 0),
    ("[[ ! ! a ]]", 0),
    ("[[ web-0 == web-* ]]", 0),
    ('[[ web-0 == "web-*" ]]', 1),
    ("[[ web-0 != db-* ]]", 0),
    ("[[ web-0 = web-? ]]", 0),
    ("[[ $HOSTNAMEX =~ ^$ ]]", 0),
    ("[[ web-12 =~ -[0-9]+$ ]]", 0),
    ("[[ web =~ [0-9] ]]", 1),
    ("[[ abc < abd ]]", 0),
    ("[[ abc > abd ]]", 1),
    ("[[ 3 -lt 20 && 3 -ge 3 ]]", 0),
    ("[[ 1 -eq 2 || a == a && b == b ]]", 0),
    ("[[ 1 -eq 2 && a == a || b == c ]]", 1),
    ("[[ a == b ||\n c == c ]]", 0),
    ("n=4; [[ n+1 -eq 5 ]]", 0),
    ("[[ -f /no/such/file ]]", 1),
    ("if [[ a == a ]]; then exit 7; fi", 7),
    ("! [[ a == a ]]", 1),
    ("[[ a == b ]] || exit 3", 3),
    ("set -e; [[ a == b ]]; exit 9", 1),
)


@pytest.mark.parametrize(("script", "code"), CONDITIONALS)
def test_double_brackets_decide_as_bash_does(script: str, code: int) -> None:
    assert Playground().command("bash", "-c", script).exit == code


@pytest.mark.needs("bash")
@pytest.mark.parametrize(("script", "code"), CONDITIONALS)
def test_bash_decides_the_same(script: str, code: int) -> None:
    real = subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode
    assert real == code


@pytest.mark.parametrize("script", ["[[ ]]", "[[ a = b = c ]]", "[[ a == b", "[[ a && ]]", "[[ ( a ) ]]"])
def test_double_brackets_that_do_not_end_well_are_a_syntax_error(script: str) -> None:
    outcome = Playground().command("bash", "-c", script)
    assert outcome.exit == 2
    assert "unexpected" in outcome.stderr


def test_double_brackets_are_for_bash_and_busybox() -> None:
    site = Playground()
    assert site.shell("[[ a == a ]]", busybox=True).exit == 0
    assert site.shell("[[ a == a ]]") == (127, "", "sh: 1: [[: not found\n")
