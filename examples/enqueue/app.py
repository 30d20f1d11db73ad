"""Schedule the slow work of a web application, and answer at once.

``POST /signup`` schedules a call of ``welcome`` in tasks.py, which the runner carries out. The
application itself does not import tasks.py.

To try it with a beanstalkd on localhost, run in this directory::

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
    """Accept new members."""

    def initialize(self, client: Client) -> None:
        # One client serves all requests: the jobs of one turn of the loop leave in one write.
        self.client = client

    async def post(self) -> None:
        try:
            name = json.loads(self.request.body)["name"]
        except (ValueError, KeyError, TypeError):
            self.set_status(400)
            self.finish({"error": "the body must be JSON with a name"})
            return
        try:
            job_id = await schedule_function(
                self.client, TUBE, Scheduled("welcome", ttr=30), name, language="en"
            )
        except BeanstalkException as error:
            # The client reconnects by itself; the browser may try again later.
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
