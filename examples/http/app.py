"""Queue the slow work of a web application, and do it when the runner calls back.

``POST /orders`` accepts an order, puts a job into the tube ``orders`` and answers at once. The
runner reserves the job and posts it to ``/tasks/confirm`` of the same application, where the work
is done. The status of that answer decides what becomes of the job: 200 deletes it, 503 releases
it to be tried again later, and any other status buries it for inspection.

To try it with a beanstalkd on localhost, run in this directory::

    openssl rand -hex 16 >token
    python app.py &
    beanstalkt work --config worker.ini &
    curl -d '{"customer": "ada"}' localhost:8000/orders
    curl localhost:8000/orders/1
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
from pathlib import Path

from tornado.web import Application, RequestHandler

import beanstalkt

TUBE = "orders"
AT_ONCE = 2  # the confirmations that this application can do at the same time


class Shop:
    """Hold the orders and the client of the queue. A real shop keeps its orders in a database."""

    def __init__(self, client: beanstalkt.Client, token: str) -> None:
        self.client = client
        self.token = token
        self.orders: dict[int, dict[str, str]] = {}
        self.under_way = 0

    async def take(self, customer: str) -> int:
        """Store an order, queue its confirmation, and return its number."""
        number = len(self.orders) + 1
        self.orders[number] = {"customer": customer, "state": "taken"}
        await self.client.put(json.dumps({"order": number}), tube=TUBE)
        return number

    async def confirm(self, number: int) -> str:
        """Do the slow work, unless it was done before.

        A job may arrive twice: when the answer to its first request was lost.
        """
        order = self.orders[number]
        if order["state"] == "confirmed":
            return f"order {number} was confirmed before"
        await asyncio.sleep(0.1)
        order["state"] = "confirmed"
        return f"order {number} is confirmed"


class Orders(RequestHandler):
    """Serve the customers."""

    def initialize(self, shop: Shop) -> None:
        self.shop = shop

    async def post(self, _: str) -> None:
        order = json.loads(self.request.body)
        self.set_status(202)
        self.finish({"order": await self.shop.take(order["customer"])})

    def get(self, number: str) -> None:
        order = self.shop.orders.get(int(number or 0))
        if order is None:
            self.set_status(404)
        self.finish(order or {})


class Confirm(RequestHandler):
    """Serve the runner, which proves by a token that it is the runner."""

    def initialize(self, shop: Shop) -> None:
        self.shop = shop

    def prepare(self) -> None:
        given = self.request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.shop.token}".encode()):
            self.set_status(401)
            self.finish("wrong token\n")

    async def post(self) -> None:
        if self.shop.under_way >= AT_ONCE:
            self.set_status(503)
            self.set_header("Retry-After", "1")
            self.finish("busy\n")
            return
        number = json.loads(self.request.body)["order"]
        if number not in self.shop.orders:
            # No attempt will find it: the runner buries the job and logs this line.
            self.set_status(404)
            self.finish(f"there is no order {number}\n")
            return
        self.shop.under_way += 1
        try:
            self.finish(await self.shop.confirm(number) + "\n")
        finally:
            self.shop.under_way -= 1


async def main() -> None:
    parser = argparse.ArgumentParser(description="A shop that confirms its orders later.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", type=Path, default=Path("token"))
    parser.add_argument("--server", default="beanstalk://localhost:11300")
    options = parser.parse_args()
    async with beanstalkt.Client.from_url(options.server) as client:
        shop = Shop(client, options.token.read_text().strip())
        application = Application(
            [
                (r"/orders(?:/(\d+))?", Orders, {"shop": shop}),
                (r"/tasks/confirm", Confirm, {"shop": shop}),
            ]
        )
        application.listen(options.port, "127.0.0.1")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
