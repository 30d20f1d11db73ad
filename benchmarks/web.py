"""Run a web server in a process of its own, for measures that send requests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


@contextmanager
def serving() -> Iterator[str]:
    """Start a server that answers every POST with a word; give its URL."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


class Done(RequestHandler):
    """Answer every POST with a word."""

    def post(self) -> None:
        self.finish("done")


async def main() -> None:
    """Serve until standard input is closed."""
    server = HTTPServer(Application([("/", Done)], log_function=lambda _: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    # Its end is closed also when the benchmark is killed.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
