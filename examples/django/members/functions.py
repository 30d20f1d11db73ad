"""Functions of the dispatch table: a program that schedules them needs only their names."""

from pathlib import Path

from .models import Member


def count(path):
    Path(path).write_text(f"{Member.objects.count()} members")
