"""A web application that leaves its slow work to a queue, and does it when the queue calls back.

``POST /orders`` takes an order and answers at once: it has put a job into the tube ``orders``.
The runner takes the job and posts it to ``/tasks/confirm``, here, where the work is done. The
status says what becomes of the job: 200 and it is deleted, 503 and it is tried again later,
anything else and it is buried, to be looked at.

To try it, with a beanstalkd on localhost, in this directory::

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
AT_ONCE = 2  # confirmations; this application cannot do more


class Shop:
    """The orders, and the queue. (A real shop would keep its orders in a database.)"""

    def __init__(self, client: beanstalkt.Client, token: str) -> None:
        self.client = client
        self.token = token
        self.orders: dict[int, dict[str, str]] = {}
        self.under_way = 0

    async def take(self, customer: str) -> int:
        """A new order; its number."""
        number = len(self.orders) + 1
        self.orders[number] = {"customer": customer, "state": "taken"}
        await self.client.put(json.dumps({"order": number}), tube=TUBE)
        return number

    async def confirm(self, number: int) -> str:
        """The slow work. A job may come twice, when the answer to the first time was lost: so
        what is done already is not done again."""
        order = self.orders[number]
        if order["state"] == "confirmed":
            return f"order {number} was confirmed before"
        await asyncio.sleep(0.1)
        order["state"] = "confirmed"
        return f"order {number} is confirmed"


class Orders(RequestHandler):
    """What customers see."""

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
    """What the runner calls, and nobody else may."""

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
            # No attempt will find it: the job is buried, and this line is in the runner's log.
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
