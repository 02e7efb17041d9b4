"""Opens connections to APIs: addresses, sockets, TLS."""

import asyncio
import functools
import socket
import ssl
import struct

import aiohappyeyeballs

ADDRESSES_S = 30.0
"""How long DNS results are used."""

_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class Addresses:
    """Caches DNS results; concurrent lookups of a host are shared."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is cached."""
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[asyncio.Task[list[aiohappyeyeballs.AddrInfoType]], float]] = {}

    async def of(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        """The addresses of a host. Raises OSError or UnicodeError."""
        lookup, until = self._known.get((host, port), (None, 0.0))
        if lookup is None or self._loop.time() > until or _failed(lookup):
            lookup = self._loop.create_task(self._resolve(host, port))
            lookup.add_done_callback(_failed)  # retrieves its error if no caller waits any more
            self._known[host, port] = lookup, self._loop.time() + ADDRESSES_S
        return await asyncio.shield(lookup)

    async def _resolve(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return list(found)


def _failed(lookup: "asyncio.Task[list[aiohappyeyeballs.AddrInfoType]]") -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


def open_socket(longest_call_s: float, address: aiohappyeyeballs.AddrInfoType) -> socket.socket:
    """A socket that is reset when it is closed, even by the kernel for a killed process.

    Data that is unacknowledged for longer than the longest call resets it too, where the platform supports that.
    """
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(longest_call_s * 1000))
    return opened


@functools.cache
def tls() -> ssl.SSLContext:
    """The system's trusted CAs; only HTTP/1.1 is offered."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
