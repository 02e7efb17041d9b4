"""The sandbox's listening socket: all waiting connections are accepted at once."""

import asyncio
import socket

from aiohttp import web

_BACKLOG = 1024


class EagerSite(web.BaseSite):
    """A site for `web.AppRunner` that accepts all waiting connections in one iteration of the event loop.

    uvloop accepts one per iteration. A backlog of new connections then waits for seconds while their requests are
    complete in the kernel and not read; they are read even if the client was killed meanwhile, so a busy API would act
    long after the death of its client.
    """

    __slots__ = ("_arriving", "_socket")

    def __init__(self, runner: web.BaseRunner, host: str, port: int) -> None:
        """Bind to the address; raises OSError. Port 0 is any free one."""
        super().__init__(runner, backlog=_BACKLOG)
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._socket = socket.create_server((host, port), family=family, backlog=self._backlog)
        self._socket.settimeout(0)
        self._arriving: set[asyncio.Task[object]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def name(self) -> str:
        """The address, as aiohttp names a site."""
        return f"http://{self._socket.getsockname()[0]}:{self.port}"

    async def start(self) -> None:
        """Accept from now on."""
        await super().start()
        asyncio.get_running_loop().add_reader(self._socket, self._accept_all)

    async def stop(self) -> None:
        """Accept no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        await super().stop()

    def _accept_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = self._runner.server
        if server is None:
            connection.close()
            return
        arriving = asyncio.ensure_future(asyncio.get_running_loop().connect_accepted_socket(server, connection))
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)
