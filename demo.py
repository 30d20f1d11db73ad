"""Put a job, reserve it and delete it: ``python demo.py [URL]``.

The demo uses the server at the URL (default: localhost:11300), or an embedded one if no server
answers there. Its job goes to a tube of its own, so that it touches no other job.
"""

import socket
import sys
from collections.abc import Callable

import tornado.ioloop

import beanstalkt
from beanstalkt.protocol.address import Address
from beanstalkt.server import Server

TUBE = "beanstalkt-demo"


def show(msg: str, value: object, cb: Callable[[], None]) -> None:
    print(msg % value)
    cb()


def stop() -> None:
    client.close(ioloop.stop)


def put() -> None:
    # Four commands are sent at once, without waiting: each gets its own reply.
    client.use(TUBE)
    client.watch(TUBE)
    client.ignore("default")
    client.put(b"A job to work on", callback=lambda s: show("Queued a job with id %d", s, reserve))


def reserve() -> None:
    client.reserve(callback=lambda s: show("Reserved job %s", s, lambda: delete(s["id"])))


def delete(job_id: int) -> None:
    client.delete(job_id, callback=lambda s: show("Deleted job with id %d", job_id, stop))


def find_server(url: str) -> str:
    """Return `url` if a server answers there; otherwise start one and return its URL."""
    address = Address.parse(url)
    try:
        if address.path is None:
            socket.create_connection((address.host, address.port), timeout=3).close()
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address.path)
    except OSError as error:
        server = Server()
        server.listen(0, "127.0.0.1")
        print(f"no server at {address} ({error.strerror}): using one in memory", file=sys.stderr)
        return server.url
    return url


ioloop = tornado.ioloop.IOLoop.current()
client = beanstalkt.Client.from_url(
    find_server(sys.argv[1] if len(sys.argv) > 1 else "beanstalk://localhost:11300")
)
client.connect(put)
ioloop.start()
