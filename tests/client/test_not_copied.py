"""Clients and pools share no connection with a copy of theirs: there is none."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import beanstalkt


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kind", [beanstalkt, beanstalkt.blocking], ids=["async", "blocking"])
async def test_no_client_and_no_pool_is_copied_or_pickled(
    kind: Any, duplicate: Callable[[object], object]
) -> None:
    for one in (kind.Client(), kind.Pool({"a": "beanstalk://localhost"})):
        message = rf"^a {type(one).__name__} cannot be copied or pickled, .*: make another one"
        with pytest.raises(TypeError, match=message):
            duplicate(one)
