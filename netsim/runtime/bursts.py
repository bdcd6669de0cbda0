"""Many datagrams with one system call each way: Linux's recvmmsg(2) and sendmmsg(2).

At a DNS server that answers from memory, most of the time is the system calls, and the making of a Python
address for each client. Here the kernel reads and writes one block of memory, where the client's address
stays as it came, and the reply takes the place of the query.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
Recall: TypeAlias = Callable[[bytes], bytes | None]
Handler: TypeAlias = Callable[[bytes, Address], bytes | None]

LARGEST = 4096
"""Bytes for one datagram."""
NAME = 28
"""Bytes for one client's address: a sockaddr_in6."""

_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p), ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Header(ctypes.Structure):
    """struct mmsghdr: a message, and the bytes that came or went."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint32))


_LENGTH = _Header.length.offset // 4
_STRIDE = ctypes.sizeof(_Header) // 4


def available() -> bool:
    """Whether this operating system has both calls."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "recvmmsg")


class Burst:
    """Memory for ``size`` datagrams of one socket."""

    def __init__(self, served: socket.socket, size: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._receive, self._send = libc.recvmmsg, libc.sendmmsg
        self._descriptor = served.fileno()
        self._size = size
        self._data = ctypes.create_string_buffer(size * LARGEST)
        self._names = ctypes.create_string_buffer(size * NAME)
        self._name_length = NAME if served.family == socket.AF_INET6 else 16
        self._incoming, self._outgoing = (_Header * size)(), (_Header * size)()
        self._room, self._replies = (_Iovec * size)(), (_Iovec * size)()
        for headers, vectors in ((self._incoming, self._room), (self._outgoing, self._replies)):
            for index in range(size):
                vectors[index] = _Iovec(ctypes.addressof(self._data) + index * LARGEST, LARGEST)
                headers[index].message.name = ctypes.addressof(self._names) + index * NAME
                headers[index].message.name_length = self._name_length
                headers[index].message.vector = ctypes.addressof(vectors[index])
                headers[index].message.vector_length = 1
        self._senders = memoryview(self._names).cast("B")
        self._view = memoryview(self._data).cast("B")
        self._lengths = memoryview(self._incoming).cast("B").cast("I")[_LENGTH::_STRIDE]
        self._reply_lengths = memoryview(self._replies).cast("B").cast("L")[1::2]

    def answer(self, recall: Recall, handler: Handler) -> list[tuple[bytes, Address]]:
        """Read what has come, and send what ``recall`` or else ``handler`` makes of each. Gives the replies
        that have no room in the place of the query, and to whom they go.

        The replies leave together: to wake a client for each costs more than to make most of them.
        """
        count = self._receive(self._descriptor, self._incoming, self._size, _DONT_WAIT, None)
        if count <= 0:
            return []
        view, replies = self._view, self._reply_lengths
        long: list[tuple[bytes, Address]] = []
        begin = start = 0
        for index, length in enumerate(self._lengths[:count].tolist()):
            data = view[start : start + length].tobytes()
            reply = recall(data)
            if reply is None:
                reply = handler(data, self._sender(index))
            if reply is not None and len(reply) <= LARGEST:
                size = len(reply)
                view[start : start + size] = reply
                replies[index] = size
            else:
                self._flush(begin, index)
                begin = index + 1
                if reply is not None:
                    long.append((reply, self._sender(index)))
            start += LARGEST
        self._flush(begin, count)
        return long

    def _flush(self, begin: int, end: int) -> None:
        """Send the replies of one stretch. What the kernel does not take is lost, as UDP may lose."""
        if begin < end:
            first = ctypes.byref(self._outgoing, begin * ctypes.sizeof(_Header))
            self._send(self._descriptor, first, end - begin, _DONT_WAIT)

    def _sender(self, index: int) -> Address:
        """Who sent the datagram at a place."""
        start = index * NAME
        name = self._senders[start : start + self._name_length].tobytes()
        packed = name[8:24] if self._name_length == NAME else name[4:8]
        return _text(packed), name[2] << 8 | name[3]


@lru_cache(maxsize=1024)
def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
