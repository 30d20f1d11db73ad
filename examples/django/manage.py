"""Members that sign up and are welcomed later, by a worker.

    python manage.py migrate
    python manage.py runserver
    python manage.py beanstalkt_work
    curl -d name=ada http://127.0.0.1:8000/signup
    curl http://127.0.0.1:8000/members

A beanstalkd must be running (or ``beanstalkt serve``); BEANSTALKD_URL says where.
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    execute_from_command_line(sys.argv)
