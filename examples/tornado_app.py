"""Put jobs from Tornado: one client, which all handlers share.

    python tornado_app.py
    curl -d name=ada http://127.0.0.1:8888/signup

BEANSTALKD_URL says where beanstalkd is; else it is on localhost.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal

from tornado.web import Application, RequestHandler

from beanstalkt import BeanstalkException, Client

TUBE = "mail"


class Signup(RequestHandler):
    """Accept new members."""

    def initialize(self, client: Client) -> None:
        self.client = client

    async def post(self) -> None:
        body = json.dumps({"welcome": self.get_body_argument("name")})
        try:
            job_id = await self.client.put(body, tube=TUBE)
        except BeanstalkException as error:
            self.set_status(503)
            self.finish({"error": str(error)})
        else:
            self.set_status(202)
            self.finish({"job": job_id})


def create_app(client: Client) -> Application:
    return Application([(r"/signup", Signup, {"client": client})])


async def main() -> None:
    url = os.environ.get("BEANSTALKD_URL", "beanstalk://localhost:11300")
    async with Client.from_url(url, connect_timeout=5, response_timeout=5) as client:
        server = create_app(client).listen(8888)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await stop.wait()
        finally:
            server.stop()
            await server.close_all_connections()


if __name__ == "__main__":
    asyncio.run(main())
