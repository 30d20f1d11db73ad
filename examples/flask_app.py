"""Put jobs from Flask: one blocking client, shared by all threads of a process.

    flask --app flask_app run
    curl -d name=ada http://127.0.0.1:5000/signup

BEANSTALKD_URL says where beanstalkd is; else it is on localhost. The client connects with its
first call, and again when the connection was lost. A process that is forked, as gunicorn's are,
gets a connection of its own.
"""

from __future__ import annotations

import atexit
import json
import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

from beanstalkt import BeanstalkException
from beanstalkt.blocking import Client

TUBE = "mail"


def create_app(server: str | None = None) -> Flask:
    """Make the application; `flask run` calls this."""
    app = Flask(__name__)
    url = server or os.environ.get("BEANSTALKD_URL", "beanstalk://localhost:11300")
    # A silent server is given up after 5 s; threads that put at the same time take turns.
    client = Client.from_url(url, response_timeout=5)
    atexit.register(client.close)

    @app.post("/signup")
    def signup() -> ResponseReturnValue:
        job_id = client.put(json.dumps({"welcome": request.form["name"]}), tube=TUBE)
        return {"job": job_id}, 202

    @app.errorhandler(BeanstalkException)
    def not_put(error: BeanstalkException) -> ResponseReturnValue:
        return {"error": str(error)}, 503

    return app
