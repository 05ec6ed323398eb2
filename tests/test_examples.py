"""The cluster examples: valid by Ray's own schema, and as closed as they promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[1] / "examples/cluster"
PAGE = (Path(__file__).parents[1] / "docs/cluster.md").read_text(encoding="utf-8")


def read(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return tree


def test_ray_up_takes_the_aws_example() -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(read("aws.yaml"))
    validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["max_workers"] == 4
    with pytest.raises(ValidationError, match="max_wrokers"):
        validate_config({**prepared, "max_wrokers": 4})


def test_every_start_keeps_the_token_and_the_dashboard_to_the_head() -> None:
    aws = read("aws.yaml")
    commands = [*aws["head_start_ray_commands"], *aws["worker_start_ray_commands"]]
    commands += [line for line in PAGE.splitlines() if line.startswith("ray start")]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 4
    for command in starts:
        assert command.startswith("ray") or "RAY_AUTH_MODE=token" in command
        assert ("--head" in command) == ("--dashboard-host=127.0.0.1" in command)
    assert "export RAY_AUTH_MODE=token" in PAGE
    assert "~/.ray/auth_token" in aws["file_mounts"]


def test_the_dependencies_of_the_aws_example_are_those_of_the_package() -> None:
    project = (EXAMPLES.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("dependencies = [\n")[1].split("\n]")[0]
    needed = re.findall(r'^ +"([^";]+)"?(?:; python_version >=.*)?,?$', section, re.MULTILINE)
    setup = " ".join(read("aws.yaml")["setup_commands"]).replace("[and-cuda]", "")
    assert len(needed) >= 12
    for requirement in needed:
        assert f"'{requirement}'" in setup


def test_the_kuberay_example_is_a_ray_cluster() -> None:
    cluster = read("kuberay.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert spec.keys() == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert spec["authOptions"] == {"mode": "token"}
    assert f'~={spec["rayVersion"]}"' in (EXAMPLES.parents[1] / "pyproject.toml").read_text()
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head.keys() == {"rayStartParams", "template"}
    assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert workers.keys() == {
        "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"
    }  # fmt: skip
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container.keys() == {"name", "image", "env", "resources", "volumeMounts"}
        assert {"name": "PIP_NO_DEPS", "value": "1"} in container["env"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
