"""The settings: what is beanstalkt's stands at the end."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent.parent

SECRET_KEY = "an example needs no secret"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "project.urls"
INSTALLED_APPS = ["beanstalkt.django", "members"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", FOLDER / "db.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# Everything here may be left out; the server is that of BEANSTALKD_URL, else localhost.
BEANSTALKT = {
    "TUBES": {"members": 2, "letters": 1},
    "WORKER": {"timeout": 30, "max_attempts": 5},
    "DISPATCH_TABLE": {"count": "members.functions.count"},
}

TASKS = {
    "default": {
        "BACKEND": "beanstalkt.django.backend.BeanstalkdBackend",
        "QUEUES": ["members", "letters"],
        # Put a task when the transaction is committed, and never if it is rolled back.
        "OPTIONS": {"ENQUEUE_ON_COMMIT": True},
    }
}
