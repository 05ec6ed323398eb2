"""What cephray expects of Ray's private parts; a failure says what changed in a new Ray."""

from __future__ import annotations

import inspect
from dataclasses import fields
from types import SimpleNamespace

import pytest
import ray
from ray.train.v2._internal.execution import callback_manager
from ray.train.v2._internal.execution.context import TrainContext
from ray.train.v2._internal.execution.controller import controller, state
from ray.train.v2._internal.execution.preemption import PreemptionContext
from ray.train.v2.api import data_parallel_trainer

from cephray.cluster import ray_private


def test_an_address_is_what_ray_address_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    address = ray_private.recorded_address() or ""
    assert address.endswith(":6379"), (
        "canonicalize_bootstrap_address(None) no longer reads RAY_ADDRESS"
    )


@pytest.mark.usefixtures("cluster")
def test_a_living_cluster_answers_and_has_a_node_here() -> None:
    address = ray.get_runtime_context().gcs_address
    client = ray_private.connect_to_head(address)
    ray_private.require_node(client, 5)


def test_the_controller_has_the_states_that_wait() -> None:
    states = {
        name
        for name, found in vars(state).items()
        if inspect.isclass(found)
        and issubclass(found, state.TrainControllerState)
        and found is not state.TrainControllerState
    }
    waiting = {found.__name__ for found in ray_private.WAITING_STATES}
    assert waiting < states
    unknown = states - waiting - {
        "AbortedState", "ErroredState", "FinishedState", "PreemptingState", "ResizingState",
        "RunningState", "ShuttingDownState",
    }  # fmt: skip
    assert not unknown, f"the controller has states that patience does not know: {unknown}"


def test_the_controller_tells_callbacks_its_states() -> None:
    method = ray_private.ControllerCallback.after_controller_state_update
    assert list(inspect.signature(method).parameters) == [
        "self", "previous_state", "current_state",
    ]  # fmt: skip
    assert "after_controller_state_update" in inspect.getsource(controller), (
        "Ray Train's controller no longer calls after_controller_state_update"
    )
    assert callback_manager.CallbackManager is not None


def test_a_worker_knows_of_announced_preemptions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "preemption_context" in {field.name for field in fields(TrainContext)}
    context = SimpleNamespace(preemption_context=PreemptionContext())
    monkeypatch.setattr(ray_private, "get_train_context", lambda: context)
    assert ray_private.announced_preemptions() == []
    context.preemption_context.preemption_info = ray.train.PreemptionInfo(None, {"a": [0, 1]})
    assert ray_private.announced_preemptions() == ["a"]


def test_the_start_of_workers_has_a_timeout_variable() -> None:
    assert ray_private.START_TIMEOUT_VARIABLE == "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def test_variables_are_passed_to_helpers() -> None:
    from ray.train.v2._internal import constants

    ray_private.pass_to_helpers("CEPHRAY_TEST")
    try:
        import os

        os.environ["CEPHRAY_TEST"] = "there"
        passed = constants.get_env_vars_to_propagate()
    finally:
        constants.ENV_VARS_TO_PROPAGATE.discard("CEPHRAY_TEST")
        del os.environ["CEPHRAY_TEST"]
    assert passed.get("CEPHRAY_TEST") == "there"


def test_no_process_is_started_for_sets_of_data(cluster: None) -> None:
    """The callback that starts it is left out, and no other."""
    theirs, ours = (
        {type(one).__name__ for one in kind(lambda: None)._create_default_callbacks()}
        for kind in (data_parallel_trainer.DataParallelTrainer, ray_private.DataParallelTrainer)
    )
    assert theirs - ours == {"DatasetsCallback"}
    assert ours < theirs
