"""What the server makes of replicas that die, fail or do not answer; the real ones are slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from ray import serve
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from cephray.cluster.resources import Node
from cephray.data import Original
from cephray.errors import InputError, RunError
from cephray.serving import pool as module
from cephray.serving.pool import BusyError, Pool
from cephray.serving.replica import Network

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
    pool._running = module._Running("cephray-1", Handle(*answers))  # type: ignore[arg-type]
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


class Serve:
    """Ray Serve, whose applications are handles; `events` is what happened to them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.handles = {f"cephray-{number}": Handle(FOUND | {"checkpoint": f"{number}"})
                        for number in (1, 2, 3)}  # fmt: skip
        self.fault: Exception | None = None
        self.while_starting: Callable[[], object] = lambda: None

    def deployment(self, **options: Any) -> Any:
        self.cpus = options["ray_actor_options"]["num_cpus"]
        return lambda _: self

    def bind(self, environment: dict[str, str]) -> Serve:
        return self

    def run(self, _: Serve, name: str, route_prefix: None) -> Handle:
        self.while_starting()
        if self.fault is not None:
            raise self.fault
        self.events.append(f"run {name}")
        return self.handles[name]

    def delete(self, name: str) -> None:
        self.events.append(f"delete {name}")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Serve:
    made = Serve()
    for name in ("deployment", "run", "delete"):
        monkeypatch.setattr(serve, name, getattr(made, name))
    monkeypatch.setattr(module, "cluster_nodes", lambda: [Node(2, 0)])
    return made


def network(name: str) -> Network:
    return {"name": name, "checkpoints": None, "overrides": []}


def test_replicas_answer_until_those_of_another_network_are_ready(fake: Serve) -> None:
    pool = Pool(1)
    pool.start(network("old"))
    answers: list[str] = []

    def ask() -> None:
        answers.append(asyncio.run(pool.predict(FILM, None, 5.0))["checkpoint"])
        assert pool.network == network("old")

    fake.while_starting = ask
    pool.start(network("new"))
    assert answers == ["1"]
    assert fake.events == ["run cephray-1", "run cephray-2", "delete cephray-1"]
    assert asyncio.run(pool.predict(FILM, None, 5.0))["checkpoint"] == "2"
    assert pool.network == network("new")
    assert fake.cpus * 2 <= 2  # both fit into the cluster


def test_replicas_finish_their_films_before_they_end(fake: Serve) -> None:
    pool = Pool(1)
    pool.start(network("old"))
    done = threading.Event()

    async def slowly(film: Original, spacing_mm: float | None) -> Any:
        await asyncio.to_thread(done.wait, 20)
        fake.events.append("answered")
        return FOUND

    fake.handles["cephray-1"].remote = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(lambda: asyncio.run(pool.predict(FILM, None, 20.0)))
        while not pool._running or not pool._running.films:
            pass
        starting = threads.submit(pool.start, network("new"))
        while len(fake.events) < 2:
            pass
        done.set()
        assert asking.result(20) == FOUND
        starting.result(20)
    assert fake.events[1:] == ["run cephray-2", "answered", "delete cephray-1"]


def test_a_network_that_does_not_load_leaves_the_one_before(fake: Serve) -> None:
    pool = Pool(1)
    pool.start(network("old"))
    fake.fault = RuntimeError("Deploying application cephray-2 failed:\n no memory")
    with pytest.raises(
        RunError, match=r"new could not be loaded, and the one before stays.*no mem"
    ):
        pool.start(network("new"))
    assert fake.events == ["run cephray-1", "delete cephray-2"]
    assert pool.network == network("old")
    assert asyncio.run(pool.predict(FILM, None, 5.0))["checkpoint"] == "1"


def test_without_memory_for_both_the_network_stays(
    fake: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(2)
    pool.start(network("old"))
    memory = SimpleNamespace(available=2_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(RunError, match=r"has 2\.0 GB of free memory of 3\.0"):
        pool.start(network("new"))
    assert fake.events == ["run cephray-1"]


def test_replicas_with_all_gpus_are_replaced_in_place(
    fake: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cluster_nodes", lambda: [Node(8, 2)])
    pool = Pool(2)
    pool.start(network("old"))
    pool.start(network("new"))
    assert fake.events == ["run cephray-1", "run cephray-1"]


def test_more_replicas_than_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cluster_nodes", lambda: [Node(2, 0), Node(1, 0)])
    with pytest.raises(InputError, match=r"--replicas 4: the cluster has 3 CPUs.*at most 3"):
        Pool(4).start({"name": "included", "checkpoints": None, "overrides": []})


def test_what_does_not_come_in_time_is_given_up() -> None:
    waiting = threading.Event()
    with pytest.raises(RunError, match=r"Ray Serve did not come within 0\.1 s; see Ray's logs"):
        module._within(waiting.wait, 0.1, "Ray Serve")
    waiting.set()
