"""Put jobs from FastAPI: one client, connected for as long as the application lives.

    uvicorn fastapi_app:app
    curl -X POST 'http://127.0.0.1:8000/signup?name=ada'

BEANSTALKD_URL says where beanstalkd is; else it is on localhost. All requests share the client;
what they put in one turn of the loop leaves in one write.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from beanstalkt import BeanstalkException, Client

TUBE = "mail"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ.get("BEANSTALKD_URL", "beanstalk://localhost:11300")
    # After the first connection it connects again by itself. Without one, the start fails.
    async with Client.from_url(url, connect_timeout=5, response_timeout=5) as client:
        app.state.beanstalkd = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/signup", status_code=202)
async def signup(request: Request, name: str) -> dict[str, int]:
    client: Client = request.app.state.beanstalkd
    return {"job": await client.put(json.dumps({"welcome": name}), tube=TUBE)}


@app.exception_handler(BeanstalkException)
async def not_put(_: Request, error: BeanstalkException) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=503)
