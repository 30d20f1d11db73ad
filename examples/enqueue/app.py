"""A web application that schedules work and answers at once.

``POST /signup`` schedules ``welcome`` of tasks.py for the new member; the runner calls it. The
application itself imports nothing of what the work needs.

To try it, with a beanstalkd on localhost, in this directory::

    python app.py &
    beanstalkt work --tube members:4 --call tasks:TABLE &
    curl -d '{"name": "ada"}' localhost:8000/signup
"""

from __future__ import annotations

import argparse
import asyncio
import json

from tornado.web import Application, RequestHandler

from beanstalkt import BeanstalkException, Client
from beanstalkt.dispatch import Scheduled, schedule_function

TUBE = "members"


class Signup(RequestHandler):
    """Takes new members."""

    def initialize(self, client: Client) -> None:
        # One client for all requests: their jobs leave on one connection, in as few writes as
        # there are turns of the loop.
        self.client = client

    async def post(self) -> None:
        try:
            name = json.loads(self.request.body)["name"]
        except (ValueError, KeyError, TypeError):
            self.set_status(400)
            self.finish({"error": "a name is wanted"})
            return
        try:
            job_id = await schedule_function(
                self.client, TUBE, Scheduled("welcome", ttr=30), name, language="en"
            )
        except BeanstalkException as error:
            # The client connects again by itself; the browser may try again too.
            self.set_status(503)
            self.finish({"error": str(error)})
            return
        self.set_status(202)
        self.finish({"job": job_id})


async def main() -> None:
    parser = argparse.ArgumentParser(description="A club that welcomes its members later.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--server", default="beanstalk://localhost:11300")
    options = parser.parse_args()
    async with Client.from_url(options.server) as client:
        application = Application([(r"/signup", Signup, {"client": client})])
        application.listen(options.port, "127.0.0.1")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
