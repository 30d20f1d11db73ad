"""What is done for the application, in the runner."""

from __future__ import annotations

GREETINGS = {"en": "Welcome", "fr": "Bienvenue"}


def welcome(name: str, language: str) -> None:
    """Greet a new member. (A real one would be sent a letter.)"""
    print(f"{GREETINGS[language]}, {name}!")


TABLE = {"welcome": "tasks.welcome"}
