"""Leader and followers: the handshake, the snapshot, the stream, and what happens when one goes away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.planes.sim.scheduler import SimTask
from netsim.programs.host import Endpoint, Invocation
from netsim.programs.redis import rdb, redis
from netsim.programs.redis.keyspace import Database
from netsim.programs.redis.resp import ReplyParser, encode_command

from .network import MemoryHost, MemoryStream, Network

LEADER, FOLLOWER, SECOND = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class Site:
    """Three hosts, on which redis-servers are started, asked and stopped."""

    def __init__(self) -> None:
        self.network = Network()
        self.hosts = {address: self.network.host(address) for address in (LEADER, FOLLOWER, SECOND)}
        self.client = self.network.host("10.0.0.9")
        self.servers: dict[str, SimTask[int]] = {}

    def start(self, address: str, *args: str) -> None:
        program: Coroutine[Any, Any, int] = redis(self.hosts[address], Invocation("redis", args=args))  # type: ignore[arg-type]  # a MemoryHost has what it needs
        self.servers[address] = self.network.scheduler.spawn(program, "redis")
        self.wait(0)

    def stop(self, address: str) -> None:
        """Kill the server: its connections are reset."""
        self.servers.pop(address).cancel()
        host = self.hosts[address]
        for task in host.tasks:
            if not task.done:
                task.cancel()
        host.tasks.clear()
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.network.run(self.client.sleep(seconds))

    def ask(self, address: str, *words: str) -> Any:
        return self.network.run(_ask(self.client, address, words))

    def info(self, address: str) -> dict[str, str]:
        text = self.ask(address, "INFO", "replication").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _ask(client: MemoryHost, address: str, words: tuple[str, ...]) -> Any:
    stream = await client.connect(Endpoint(IPv4Address(address), 6379))
    await stream.write(encode_command(*(word.encode() for word in words)))
    parser = ReplyParser()
    while (reply := parser.next()) is None:
        parser.feed(await stream.read(timeout=10))
    stream.close()
    return reply[0]


def pair() -> Site:
    site = Site()
    site.start(LEADER)
    site.ask(LEADER, "SET", "before", "1")
    site.ask(LEADER, "RPUSH", "list", "a", "b")
    site.start(FOLLOWER, "--replicaof", LEADER, "6379")
    site.wait(1)
    return site


def test_a_follower_takes_the_leaders_data_and_then_its_changes() -> None:
    site = pair()
    assert site.ask(FOLLOWER, "GET", "before") == b"1"
    assert site.ask(FOLLOWER, "LRANGE", "list", "0", "-1") == (b"a", b"b")
    site.ask(LEADER, "SET", "after", "2")
    site.ask(LEADER, "LPOP", "list")
    assert site.ask(FOLLOWER, "MGET", "before", "after") == (b"1", b"2")
    assert site.ask(FOLLOWER, "LRANGE", "list", "0", "-1") == (b"b",)
    site.ask(LEADER, "FLUSHALL")
    assert site.ask(FOLLOWER, "DBSIZE") == 0


def test_both_say_who_they_are() -> None:
    site = pair()
    site.ask(LEADER, "SET", "k", "v")
    site.wait(2)
    leader, follower = site.info(LEADER), site.info(FOLLOWER)
    assert (leader["role"], follower["role"]) == ("master", "slave")
    assert leader["connected_slaves"] == "1"
    offset = int(leader["master_repl_offset"])
    assert leader["slave0"] == f"ip={FOLLOWER},port=6379,state=online,offset={offset},lag=0"
    assert follower["master_host"] == LEADER
    assert follower["master_link_status"] == "up"
    for field in ("master_replid", "master_repl_offset"):
        assert leader[field] == follower[field]
    assert site.ask(FOLLOWER, "ROLE") == (b"slave", LEADER.encode(), 6379, b"connected", offset)
    assert site.ask(LEADER, "ROLE") == (b"master", offset, ((FOLLOWER.encode(), b"6379", b"%d" % offset),))


def test_a_follower_refuses_writes() -> None:
    site = pair()
    error = "READONLY You can't write against a read only replica."
    for words in (("SET", "k", "v"), ("LPUSH", "list", "x"), ("FLUSHALL",)):
        assert site.ask(FOLLOWER, *words) == (error,)
    assert site.ask(FOLLOWER, "DBSIZE") == 2


def test_databases_are_kept_apart_at_the_follower_too() -> None:
    site = pair()
    stream = site.network.run(site.client.connect(Endpoint(IPv4Address(LEADER), 6379)))
    site.network.run(stream.write(b"SELECT 3\r\nSET k three\r\nSELECT 0\r\nSET k zero\r\n"))
    site.wait(1)
    keyspace = site.ask(FOLLOWER, "INFO", "keyspace").decode()
    assert "db0:keys=3" in keyspace
    assert "db3:keys=1" in keyspace


def test_a_follower_waits_for_its_leader_and_asks_each_second() -> None:
    site = Site()
    site.start(FOLLOWER, "--replicaof", LEADER, "6379")
    site.wait(5.5)
    assert site.info(FOLLOWER)["master_link_status"] == "down"
    assert site.info(FOLLOWER)["master_link_down_since_seconds"] == "5"
    assert site.ask(FOLLOWER, "PSYNC", "?", "-1") == (
        "NOMASTERLINK Can't SYNC while not connected with my master",
    )
    site.start(LEADER)
    site.ask(LEADER, "SET", "k", "v")
    site.wait(1)
    assert site.ask(FOLLOWER, "GET", "k") == b"v"


def test_a_new_leader_at_the_same_place_brings_its_own_data() -> None:
    site = pair()
    site.stop(LEADER)
    site.wait(3)
    assert site.info(FOLLOWER)["master_link_status"] == "down"
    assert site.ask(FOLLOWER, "GET", "before") == b"1"  # stale data are served
    site.start(LEADER)
    site.ask(LEADER, "SET", "k", "new")
    site.wait(2)
    assert site.info(FOLLOWER)["master_link_status"] == "up"
    assert site.ask(FOLLOWER, "MGET", "before", "k") == (None, b"new")


def test_a_follower_that_was_cut_off_goes_on_where_it_was() -> None:
    site = pair()
    site.ask(LEADER, "SET", "k", "1")
    snapshots = said(site, "sends a snapshot")
    (link,) = (stream for stream in site.hosts[FOLLOWER].streams if not stream.closed)
    link.abort()
    link.other.abort()
    site.ask(LEADER, "SET", "k", "2")
    site.wait(2)
    assert site.ask(FOLLOWER, "GET", "k") == b"2"
    assert said(site, "sends a snapshot") == snapshots == 1
    assert said(site, "what it missed") == 1


def said(site: Site, text: str) -> int:
    return sum(text in cause.text for cause in site.hosts[LEADER].causes)


def test_followers_follow_a_follower_and_stay_when_it_becomes_the_leader() -> None:
    site = pair()
    site.start(SECOND, "--replicaof", FOLLOWER, "6379")
    site.wait(1)
    site.ask(LEADER, "SET", "k", "1")
    assert site.ask(SECOND, "GET", "k") == b"1"
    assert site.info(SECOND)["master_replid"] == site.info(LEADER)["master_replid"]
    site.ask(FOLLOWER, "REPLICAOF", "NO", "ONE")
    assert site.info(FOLLOWER)["role"] == "master"
    assert site.info(FOLLOWER)["master_replid2"] == site.info(LEADER)["master_replid"]
    site.ask(FOLLOWER, "SET", "k", "2")
    assert site.ask(SECOND, "GET", "k") == b"2"
    assert site.ask(LEADER, "GET", "k") == b"1"


def test_a_running_server_is_made_a_follower_and_loses_what_it_had() -> None:
    site = Site()
    site.start(LEADER)
    site.start(FOLLOWER)
    site.ask(LEADER, "SET", "a", "1")
    site.ask(FOLLOWER, "SET", "b", "2")
    assert site.ask(FOLLOWER, "SLAVEOF", LEADER, "6379") == (b"OK",)
    site.wait(1)
    assert site.ask(FOLLOWER, "KEYS", "*") == (b"a",)
    assert site.ask(FOLLOWER, "REPLICAOF", LEADER, "6379") == (b"OK Already connected to specified master",)
    assert site.ask(FOLLOWER, "REPLICAOF", LEADER, "66000") == ("ERR Invalid master port",)


def test_a_leader_with_a_password_is_followed_by_who_knows_it() -> None:
    site = Site()
    site.start(LEADER, "--requirepass", "secret")
    site.start(FOLLOWER, "--replicaof", LEADER, "6379")
    site.start(SECOND, "--replicaof", LEADER, "6379", "--masterauth", "secret")
    site.wait(3)
    assert site.info(FOLLOWER)["master_link_status"] == "down"
    assert site.info(SECOND)["master_link_status"] == "up"


def test_one_that_follows_itself_never_gets_anywhere() -> None:
    site = Site()
    site.start(LEADER, "--replicaof", LEADER, "6379")
    site.wait(5)
    assert site.info(LEADER)["master_link_status"] == "down"


def test_a_silent_replica_is_let_go_after_a_minute_and_pings_come_each_ten_seconds() -> None:
    site = Site()
    site.start(LEADER)
    stream = site.network.run(site.client.connect(Endpoint(IPv4Address(LEADER), 6379)))
    site.network.run(stream.write(b"PSYNC ? -1\r\n"))
    site.wait(30.5)
    data = site.network.run(stream.read())
    assert data.startswith(b"+FULLRESYNC ")
    assert data.count(encode_command(b"PING")) == 3
    site.wait(31)
    assert site.info(LEADER)["connected_slaves"] == "0"


def test_when_the_head_of_a_chain_is_replaced_all_below_it_begin_again() -> None:
    site = pair()
    site.start(SECOND, "--replicaof", FOLLOWER, "6379")
    site.wait(1)
    assert site.ask(SECOND, "GET", "before") == b"1"
    site.stop(LEADER)
    site.start(LEADER)
    site.ask(LEADER, "SET", "k", "new")
    site.wait(3)
    for address in (FOLLOWER, SECOND):
        assert site.ask(address, "MGET", "before", "k") == (None, b"new")


Script = Sequence[bytes]
HANDSHAKE = (b"+PONG\r\n", b"+OK\r\n+OK\r\n")
SNAPSHOT = rdb.dump([Database()])
FULL = b"+FULLRESYNC " + b"f" * 40 + b" 0\r\n"


def follow_a_script(script: Script) -> Site:
    """A follower of somebody who answers its first commands with these bytes, and then says nothing."""
    site = Site()

    async def lead() -> None:
        listener = await site.hosts[LEADER].listen(6379)
        while True:
            stream = await listener.accept()
            site.hosts[LEADER].spawn(speak(stream), "leader")

    async def speak(stream: MemoryStream) -> None:
        for reply in script:
            await stream.read()
            await stream.write(reply)

    site.hosts[LEADER].spawn(lead(), "leader")
    site.start(FOLLOWER, "--replicaof", LEADER, "6379")
    return site


def test_a_leader_that_falls_silent_is_given_up_after_a_minute() -> None:
    site = follow_a_script((*HANDSHAKE, FULL + b"$%d\r\n" % len(SNAPSHOT) + SNAPSHOT))
    site.wait(59)
    assert site.info(FOLLOWER)["master_link_status"] == "up"
    site.wait(2)
    assert len(site.hosts[FOLLOWER].streams) == 2
    assert site.hosts[FOLLOWER].streams[0].closed


@pytest.mark.parametrize(
    "script",
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n",),
        (b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"\r\n", b"what?\r\n"),
        (*HANDSHAKE, b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"),
        (*HANDSHAKE, b"+FULLRESYNC\r\n"),
        (*HANDSHAKE, b"\xff\xfe +++\r\n"),
        (*HANDSHAKE, FULL + b"$x\r\n"),
        (*HANDSHAKE, FULL + b"$9\r\nREDIS9999"),
        (*HANDSHAKE, FULL + b"$%d\r\n" % len(SNAPSHOT) + SNAPSHOT + b"*1\r\nPING\r\n"),
        (*HANDSHAKE, FULL + b"$%d\r\n" % len(SNAPSHOT) + SNAPSHOT + b"*0\r\n\n*1\r\n$3\r\nFLY\r\n*x\r\n"),
    ],
)
def test_whatever_a_leader_says_the_follower_lives_and_tries_again(script: Script) -> None:
    site = follow_a_script(script)
    site.wait(2.5)
    assert site.ask(FOLLOWER, "PING") == (b"PONG",)
    assert len(site.hosts[FOLLOWER].streams) >= 3, "an attempt each second"


values = st.one_of(st.binary(max_size=80), st.lists(st.binary(max_size=20), min_size=1, max_size=5))


@given(st.dictionaries(st.binary(max_size=10), values), st.integers(1, 15))
def test_a_snapshot_holds_all_databases(content: dict[bytes, Any], index: int) -> None:
    databases = [Database() for _ in range(16)]
    databases[0].values = dict(content)
    databases[index].values = dict(content)
    loaded = rdb.load(rdb.dump(databases))
    assert [database.values for database in loaded] == [database.values for database in databases]


def test_the_checksum_is_redis_own() -> None:
    assert rdb.crc64(b"123456789") == 0xE9C6D914C4B8D9CA


def damaged(change: Callable[[bytes], bytes]) -> bytes:
    database = Database()
    database.values[b"key"] = b"value"
    return change(rdb.dump([database]))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (damaged(lambda data: data[:-1] + b"x"), "Wrong RDB checksum"),
        (damaged(lambda data: data.replace(b"value", b"vaLue")), "Wrong RDB checksum"),
        (damaged(lambda data: data[:14]), "Unexpected EOF"),
        (damaged(lambda data: b"REDIS9999" + data[9:]), "Can't handle RDB format"),
        (b"REDIS0009\x04\x01k", "values of type 4 are not known here"),
        (b"REDIS0009\xfe\x20", "database 32 is out of range"),
    ],
)
def test_a_damaged_snapshot_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        rdb.load(data)


@given(st.binary(max_size=60))
def test_no_bytes_bring_the_loader_down(data: bytes) -> None:
    with pytest.raises(WireError):
        rdb.load(b"REDIS0009" + data)
