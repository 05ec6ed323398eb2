"""The cluster examples: valid by Ray's own schema, and as closed as they promise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cephray.cli.__main__ import _parser
from cephray.config import load_config

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples/cluster"
PAGE = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")


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
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("dependencies = [\n")[1].split("\n]")[0]
    needed = re.findall(r'^ +"([^";]+)"?(?:; python_version >=.*)?,?$', section, re.MULTILINE)
    setup = " ".join(read("aws.yaml")["setup_commands"]).replace("[and-cuda]", "")
    extra = project.split("pretrained = [\n")[1].split("\n]")[0]
    weights = re.findall(r'"(.+)"', extra)
    assert len(needed) >= 12
    assert len(weights) == 3
    for requirement in (*needed, *weights):
        assert f"'{requirement}'" in setup


def of_kubernetes(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an example, and the part of it that describes the Ray cluster."""
    tree = read(name)
    return tree, tree["spec"].get("rayClusterSpec", tree["spec"])


@pytest.mark.parametrize("name", ["kuberay.yaml", "rayjob.yaml"])
def test_the_kuberay_examples_are_ray_clusters(name: str) -> None:
    tree, spec = of_kubernetes(name)
    kinds = {"kuberay.yaml": "RayCluster", "rayjob.yaml": "RayJob"}
    assert (tree["apiVersion"], tree["kind"]) == ("ray.io/v1", kinds[name])
    assert spec.keys() == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert spec["authOptions"] == {"mode": "token"}
    assert f'~={spec["rayVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head.keys() == {"rayStartParams", "template"}
    assert workers.keys() == {
        "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"
    }  # fmt: skip
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "IMAGE"
        assert container["resources"]["limits"] == container["resources"]["requests"]
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_dashboard_is_open_to_the_submitting_pod_alone_that_needs_it() -> None:
    for name, host in (("kuberay.yaml", "127.0.0.1"), ("rayjob.yaml", "0.0.0.0")):
        _, spec = of_kubernetes(name)
        assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == host


def test_the_job_of_kubernetes_is_a_command_of_ours() -> None:
    job, spec = of_kubernetes("rayjob.yaml")
    program, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "cephray"
    options = _parser().parse_args(arguments)
    assert options.resume  # the second try goes on where the first one ended
    [workers] = spec["workerGroupSpecs"]
    assert options.num_workers == workers["replicas"]
    assert load_config(options.config, options.set).train.wait_for_resources_s > 600
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    [toleration] = workers["template"]["spec"]["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


def test_the_image_has_the_tensorflow_of_the_package() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [version] = re.findall(r"tensorflow\[and-cuda\](~=[\d.]+)", text)
    assert f'"tensorflow{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_of_the_image_in_an_empty_folder(tmp_path: Path) -> None:
    """All steps for CPUs but those of apt and of the base, in order; then it predicts a film."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line for line in text.splitlines() if re.match("RUN|COPY|ENV", line)]
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    environment = {"DEVICE": "cpu", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    run = 0
    for step in steps:
        kind, rest = step.split(maxsplit=1)
        rest = re.sub(r"(?<![\w.])/(src|build|wheel|opt)\b", rf"{tmp_path}/\1", rest)
        if step == "COPY . /src":
            for file in filter(None, files):
                (tmp_path / "src" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, tmp_path / "src" / file)
        elif kind == "ENV":
            name, value = rest.split("=", 1)
            environment[name] = value.replace("${PATH}", environment["PATH"])
        elif kind == "RUN" and "apt-get" not in step:
            command = rest.replace("python3 ", f"{sys.executable} ")
            subprocess.run(
                ["bash", "-ec", command], cwd=tmp_path / "src", env=environment, check=True
            )
            run += 1
    assert run == 4
    shutil.rmtree(tmp_path / "src")
    for command in ("synthesize --output films --count 2", "predict films --output found"):
        subprocess.run(["cephray", *command.split()], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "found/landmarks.csv").exists()
