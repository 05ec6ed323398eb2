"""Teaching: corrected films adapt the network, in a process of its own, beside the server.

The process is `python -m cephray.serving.teaching FOLDER`, which prints a JSON object on a line
for each step. A folder has the marks in `annotations/`, the films beside them, and what to do in
`job.json`. It knows cases and `cephray.adapt`, and no HTTP.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cephray.adapt import FACTS_FILE, FEWEST_FILMS, STAGES
from cephray.cluster import network_environment
from cephray.errors import InputError
from cephray.serving.cases import CaseFolder
from cephray.serving.exports import export
from cephray.storage import replace_text

CHECKPOINTS = "checkpoints"

_JOB, _CHOSEN, _WORK = "job.json", "chosen.json", ".teaching"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Teaching:
    """The checkpoints that were taught from a folder of cases, and the one that is taught now.

    Args:
        folder: of the cases.
        checkpoints: path or URI of the checkpoint that is adapted. If empty, it is the included
            one. An ensemble, of several, is not taught.
    """

    def __init__(self, folder: CaseFolder, checkpoints: Sequence[str] = ()) -> None:
        self._cases = folder
        self._checkpoints = tuple(checkpoints)
        self._process: subprocess.Popen[str] | None = None
        self._state: dict[str, Any] = {"state": "idle"}
        self._lock = threading.Lock()
        shutil.rmtree(folder.folder / _WORK, ignore_errors=True)  # of a server that was killed

    @property
    def state(self) -> dict[str, Any]:
        """`state` (idle, running, done or failed), `name`, `done` of `total` steps, `error`."""
        return dict(self._state)

    def taught(self) -> list[dict[str, Any]]:
        """Return the `name` and the `figures` of each checkpoint, the oldest first.

        The figures are those of `adaptation_json`: on each film, the error of a network that was
        fitted to other films.
        """
        found = []
        for path in sorted(self._folder.glob(f"*/{FACTS_FILE}")):
            try:
                figures = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue
            found.append({"name": path.parent.name, "figures": figures})
        return found

    def path(self, name: str) -> Path:
        """Return the folder of a checkpoint.

        Raises:
            InputError: there is no checkpoint of this name.
        """
        folder = self._folder / name
        if not _NAME.fullmatch(name) or not (folder / FACTS_FILE).is_file():
            raise InputError(f"there is no checkpoint {name[:80]!r}")
        return folder

    @property
    def chosen(self) -> str | None:
        """Name of the checkpoint that was chosen, or None if it is the one that was given."""
        try:
            name = json.loads((self._folder / _CHOSEN).read_text(encoding="utf-8"))
            self.path(name)
        except (FileNotFoundError, ValueError, TypeError):  # an InputError is a ValueError
            return None
        return str(name)

    def choose(self, name: str | None) -> None:
        """Keep the choice of a checkpoint, for the next start as well."""
        self._folder.mkdir(exist_ok=True)
        replace_text(self._folder / _CHOSEN, json.dumps(name))

    def start(self, names: Sequence[str]) -> dict[str, Any]:
        """Begin to teach in the background.

        Args:
            names: of the cases.

        Returns:
            The state.

        Raises:
            InputError: there are too few cases, one is not checked or has no spacing, another
                checkpoint is being taught, or the network is an ensemble.
        """
        if len(self._checkpoints) > 1:
            raise InputError(
                f"an ensemble of {len(self._checkpoints)} networks cannot be taught; serve one"
                " --checkpoint"
            )
        cases = [self._cases.read(name) for name in dict.fromkeys(names)]
        if len(cases) < FEWEST_FILMS:
            raise InputError(
                f"{len(cases)} films were given; at least {FEWEST_FILMS} that are marked as"
                " checked are needed, and 10 to 20 are better"
            )
        for case in cases:
            if not case["checked"]:
                raise InputError(f"case {case['film']}: not marked as checked; check it first")
            if case["spacing_mm"] is None:
                raise InputError(f"case {case['film']}: has no spacing; calibrate it by a ruler")
        with self._lock:
            if self._state["state"] == "running":
                raise InputError("a network is being taught; wait until it is done")
            name = self._free_name()
            work = self._cases.folder / _WORK / name
            self._write(work, cases, name)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(work)],
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **network_environment(on_gpu=False)},
                start_new_session=True,  # Ctrl-C reaches the server alone, which ends it
            )
            self._state = {
                "state": "running",
                "name": name,
                "done": 0,
                "total": STAGES * len(cases),
            }
        threading.Thread(target=self._follow, args=(work,), daemon=True).start()
        return self.state

    def stop(self) -> None:
        """End the process that teaches, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._cases.folder / _WORK, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self._cases.folder / CHECKPOINTS

    def _free_name(self) -> str:
        day, number = date.today().isoformat(), 1
        while (self._folder / f"taught-{day}-{number}").exists():
            number += 1
        return f"taught-{day}-{number}"

    def _write(self, work: Path, cases: Sequence[dict[str, Any]], name: str) -> None:
        """Write a data set of the cases, and what to do with it."""
        shutil.rmtree(work, ignore_errors=True)
        annotations = work / "annotations"
        annotations.mkdir(parents=True)
        for case in cases:
            film = self._cases.film(case["film"])
            (work / film.name).symlink_to(film.resolve())
            content = export(self._cases, [case["film"]], "cephray").content
            (annotations / f"{case['film']}.json").write_bytes(content)
        job = {
            "checkpoint": next(iter(self._checkpoints), None),
            "output": str((self._folder / name).resolve()),
        }
        (work / _JOB).write_text(json.dumps(job), encoding="utf-8")

    def _follow(self, work: Path) -> None:
        """Read what the process prints, until it ends."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[str] = []
        with process:  # closes its pipes
            stderr = process.stderr
            reading = threading.Thread(target=lambda: errors.extend(stderr), daemon=True)
            reading.start()
            for line in process.stdout:
                try:
                    self._state = {**self._state, **json.loads(line)}
                except ValueError:
                    continue  # of a library
            code = process.wait()
            reading.join()
        shutil.rmtree(work, ignore_errors=True)
        if code == 0:
            self._state = {**self._state, "state": "done"}
        else:
            said = self._state.get("error") or (errors[-1].strip()[:300] if errors else "")
            error = said or f"the process ended with code {code}"
            self._state = {**self._state, "state": "failed", "error": error}


def teach(work: Path) -> None:
    """Adapt a checkpoint as `job.json` in a folder says; the process that `Teaching` starts.

    Raises:
        InputError: the films or the checkpoint cannot be used.
    """
    from cephray.adapt import read_marked
    from cephray.checkpoint import open_checkpoints
    from cephray.progress import import_tensorflow

    job = json.loads((work / _JOB).read_text(encoding="utf-8"))
    checkpoint = open_checkpoints(job["checkpoint"])[0]
    records = read_marked(checkpoint, work)
    import_tensorflow()
    from cephray.adapt import adapt, figures_of, write_adapted, write_facts
    from cephray.landmarks import landmark_set

    done = 0

    def advance(films: int) -> None:
        nonlocal done
        done += films
        print(json.dumps({"done": done}), flush=True)

    adaptation = adapt(checkpoint, records, advance)
    output = Path(job["output"])
    output.parent.mkdir(exist_ok=True)
    write_adapted(checkpoint, adaptation, output)
    figures = figures_of(adaptation, landmark_set(checkpoint.config.data.landmarks))
    # Last: a checkpoint without its figures is not shown.
    write_facts(output, adaptation, figures)


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, even if it was killed.

    Standard input is a pipe, which the system closes then.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    try:
        teach(Path(sys.argv[1]))
    except Exception as error:
        print(json.dumps({"error": " ".join(str(error).split())[:500]}), flush=True)
        sys.exit(1)
