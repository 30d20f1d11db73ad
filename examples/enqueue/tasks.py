"""Work that the runner does for the application."""

from __future__ import annotations

GREETINGS = {"en": "Welcome", "fr": "Bienvenue"}


def welcome(name: str, language: str) -> None:
    """Greet a new member. A real application would send a letter."""
    print(f"{GREETINGS[language]}, {name}!")


TABLE = {"welcome": "tasks.welcome"}
