"""Values that hypothesis draws for headers."""

from __future__ import annotations

from hypothesis import strategies as st

from netsim.wire import tcp

addresses = st.binary(min_size=4, max_size=4)
macs = st.binary(min_size=6, max_size=6)
words = st.integers(0, 0xFFFF)
longs = st.integers(0, 0xFFFFFFFF)
octets = st.integers(0, 255)
payloads = st.binary(max_size=200)

segments = st.builds(
    tcp.Tcp,
    source_port=words,
    destination_port=words,
    sequence=longs,
    acknowledgement=longs,
    flags=st.integers(0, 0xFF),
    window=words,
    mss=st.none() | words,
    payload=payloads,
)
