"""Put jobs from aiohttp: one client, in the application's cleanup context.

    python aiohttp_app.py
    curl -d name=ada http://127.0.0.1:8080/signup

BEANSTALKD_URL says where beanstalkd is; else it is on localhost.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

from aiohttp import web

from beanstalkt import BeanstalkException, Client

TUBE = "mail"
CLIENT = web.AppKey("client", Client)


async def beanstalkd(app: web.Application) -> AsyncIterator[None]:
    url = os.environ.get("BEANSTALKD_URL", "beanstalk://localhost:11300")
    async with Client.from_url(url, connect_timeout=5, response_timeout=5) as client:
        app[CLIENT] = client
        yield


async def signup(request: web.Request) -> web.Response:
    form = await request.post()
    if not isinstance(form.get("name"), str):
        return web.json_response({"error": "the form must have a name"}, status=400)
    body = json.dumps({"welcome": form["name"]})
    try:
        job_id = await request.app[CLIENT].put(body, tube=TUBE)
    except BeanstalkException as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response({"job": job_id}, status=202)


def create_app() -> web.Application:
    app = web.Application()
    app.router.add_post("/signup", signup)
    app.cleanup_ctx.append(beanstalkd)
    return app


if __name__ == "__main__":
    web.run_app(create_app())
