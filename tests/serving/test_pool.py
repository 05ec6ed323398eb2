"""What the server makes of replicas that die, fail or do not answer; the real ones are slow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from cephray.data import Original
from cephray.errors import InputError, RunError
from cephray.serving import pool as module
from cephray.serving.pool import BusyError, Pool

FILM = Original(np.zeros((60, 48), np.uint8))
FOUND = {"facts": {}, "checkpoint": "included", "films": 1}


class Handle:
    """A handle whose replica does one thing after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    @property
    def predict(self) -> Handle:
        return self

    async def remote(self, film: Original, spacing_mm: float | None) -> Any:
        assert film is FILM
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.sleep(60)
        return answer


def ask(*answers: Any, seconds: float = 20.0) -> Any:
    pool = Pool(1)
    pool._handle = Handle(*answers)  # type: ignore[assignment]
    return asyncio.run(pool.predict(FILM, None, seconds))


def test_a_film_whose_replica_dies_is_given_to_another() -> None:
    assert ask(FOUND) == FOUND
    assert ask(ActorDiedError(), ActorDiedError(), FOUND) == FOUND


def test_three_deaths_are_said() -> None:
    with pytest.raises(BusyError, match="process died, and was started again; try again"):
        ask(ActorDiedError(), ActorDiedError(), ActorDiedError(), FOUND)


def test_a_film_that_fails_is_not_tried_again() -> None:
    failed: Sequence[RayError] = [RayTaskError("predict", "trace\nValueError: odd film", None)]  # type: ignore[no-untyped-call]
    with pytest.raises(RunError, match=r"could not be predicted .ValueError: odd film"):
        ask(*failed, FOUND)


def test_no_answer_is_said_in_time() -> None:
    with pytest.raises(BusyError, match=r"no answer of the network within 0\.1 s"):
        ask(None, seconds=0.1)
    with pytest.raises(BusyError, match="not ready"):
        asyncio.run(Pool(1).predict(FILM, None, 1.0))


def test_more_replicas_than_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from cephray.cluster.resources import Node

    monkeypatch.setattr(module, "cluster_nodes", lambda: [Node(2, 0), Node(1, 0)])
    with pytest.raises(InputError, match=r"--replicas 4: the cluster has 3 CPUs.*at most 3"):
        Pool(4).start({"name": "included", "checkpoints": None, "overrides": []})


def test_what_does_not_come_in_time_is_given_up() -> None:
    import threading

    waiting = threading.Event()
    with pytest.raises(RunError, match=r"Ray Serve did not come within 0\.1 s; see Ray's logs"):
        module._within(waiting.wait, 0.1, "Ray Serve")
    waiting.set()
