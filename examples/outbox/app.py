"""Take orders and confirm them later, with the job in the same transaction as the order.

``POST /orders`` inserts an order and a row of ``queued_job`` into one SQLite database, in one
transaction: there is never an order without its job, or a job without its order. The relay puts
the row into beanstalkd, the runner posts it to ``/tasks/confirm`` of this application, and what
became of it is in the row, which ``GET /orders/NUMBER`` shows.

To see all of it, with a server in memory, in one command (it needs ``pip install
'beanstalkt[sql,http]'``)::

    python app.py --demo

To run it with a beanstalkd on localhost, each in a terminal of its own::

    export BEANSTALKT_DATABASE=sqlite:///orders.db
    beanstalkt outbox migrate
    python app.py
    beanstalkt outbox relay
    beanstalkt work --tube default:4 --http-job --allow http://127.0.0.1:8000/tasks/ \\
        --history $BEANSTALKT_DATABASE

    curl -d customer=ada http://127.0.0.1:8000/orders
    curl http://127.0.0.1:8000/orders/1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

HOST = "127.0.0.1"

ORDERS = """
CREATE TABLE IF NOT EXISTS orders (
    id integer PRIMARY KEY, customer text NOT NULL, state text NOT NULL DEFAULT 'taken'
)
"""

SHOWN = """
SELECT o.customer, o.state, j.state AS job, j.http_status, j.last_response
FROM orders o LEFT JOIN queued_job j ON j.url LIKE '%/tasks/confirm?order=' || o.id
WHERE o.id = ?
"""


class Shop:
    """Keep the orders in a database that has the tables of the outbox as well."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        with self.transaction() as database:
            database.execute(ORDERS)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as database:
            database.row_factory = sqlite3.Row
            with database:  # commits, or rolls back
                yield database

    def take(self, customer: str) -> int:
        """Store an order and the job that confirms it: both, or neither."""
        with self.transaction() as database:
            added = database.execute("INSERT INTO orders (customer) VALUES (?)", (customer,))
            number = added.lastrowid
            assert number is not None
            database.execute(
                "INSERT INTO queued_job (url, timeout_secs) VALUES (?, 10)",
                (f"{self.url}/tasks/confirm?order={number}",),
            )
        return number

    def confirm(self, number: int) -> bool:
        """Confirm an order; return whether this is the first time. A job may come twice."""
        with self.transaction() as database:
            changed = database.execute(
                "UPDATE orders SET state = 'confirmed' WHERE id = ? AND state = 'taken'", (number,)
            )
            return changed.rowcount == 1

    def show(self, number: int) -> dict[str, Any]:
        """Return an order and what became of its job."""
        with self.transaction() as database:
            found = database.execute(SHOWN, (number,)).fetchone()
        if found is None:
            raise HTTPError(404)
        return dict(found)


class OrdersHandler(RequestHandler):
    def initialize(self, shop: Shop) -> None:
        self.shop = shop

    def post(self) -> None:
        self.set_status(202)
        self.write({"order": self.shop.take(self.get_body_argument("customer"))})


class OrderHandler(OrdersHandler):
    def get(self, number: str) -> None:
        self.write(self.shop.show(int(number)))


class ConfirmHandler(OrdersHandler):
    """The task. Its answer decides what becomes of the job, and its first lines are kept."""

    def post(self) -> None:
        number = int(self.get_query_argument("order"))
        row = self.request.headers.get("X-Beanstalkt-Outbox-Id")
        self.write("confirmed" if self.shop.confirm(number) else "was confirmed before")
        print(f"order {number}: its job is row {row} of the outbox", file=sys.stderr)


@asynccontextmanager
async def serving(path: Path, port: int) -> AsyncIterator[str]:
    """Serve the application; give its URL."""
    sockets = bind_sockets(port, HOST)
    url = f"http://{HOST}:{sockets[0].getsockname()[1]}"
    shop = {"shop": Shop(path, url)}
    routes = [
        (r"/orders", OrdersHandler, shop),
        (r"/orders/(\d+)", OrderHandler, shop),
        (r"/tasks/confirm", ConfirmHandler, shop),
    ]
    server = HTTPServer(Application(routes))
    server.add_sockets(sockets)
    try:
        yield url
    finally:
        server.stop()
        await server.close_all_connections()


# --- everything at once ----------------------------------------------------------------------


async def demo(path: Path) -> None:
    """Run the application, a server in memory, the relay and the runner, and take some orders."""
    from beanstalkt.server import Server

    database = f"sqlite:///{path}"
    beanstalk = ("-m", "beanstalkt")
    async with AsyncExitStack() as stack:
        await (await start(*beanstalk, "outbox", "migrate", "--database", database)).wait()
        queue = Server()
        queue.listen(0, HOST)
        stack.callback(queue.stop)
        url = await stack.enter_async_context(serving(path, 0))
        relay = [*beanstalk, "outbox", "relay", "--database", database, "--server", queue.url]
        work = [*beanstalk, "--server", queue.url, "work", "--tube", "default:2", "--http-job"]
        work += ["--allow", f"{url}/tasks/", "--history", database]
        for command in (relay, work):
            process = await start(*command)
            stack.push_async_callback(stop, process)
        client = AsyncHTTPClient()
        numbers = []
        for customer in ("ada", "grace", "barbara"):
            body = f"customer={customer}"
            answer = await client.fetch(f"{url}/orders", method="POST", body=body)
            numbers.append(json.loads(answer.body)["order"])
        for number in numbers:
            while True:
                order = json.loads((await client.fetch(f"{url}/orders/{number}")).body)
                if order["job"] == "done":
                    break
                await asyncio.sleep(0.1)
            print(f"order {number}: {json.dumps(order)}", flush=True)


async def start(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, *words)


async def stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def run(path: Path, port: int) -> None:
    async with serving(path, port):
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take orders, and confirm them later.")
    parser.add_argument("--database", type=Path, default=Path("orders.db"), metavar="FILE")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--demo", action="store_true", help="run everything, and take orders")
    options = parser.parse_args()
    running = demo(options.database) if options.demo else run(options.database, options.port)
    with suppress(KeyboardInterrupt):
        asyncio.run(running)


if __name__ == "__main__":
    main()
