"""Ray Train's list of the checkpoints that it keeps, and its removal if it is damaged.

A full disk or a kill can cut the list short, or leave folders in it that are gone. Ray then
refuses to start. cephray's manifests say which checkpoints are complete, so nothing is lost.
"""

from __future__ import annotations

import json

from cephray.storage import Place

SNAPSHOT = "checkpoint_manager_snapshot.json"


def forget_damaged_snapshot(run: Place) -> None:
    """Remove Ray's list from a run's folder if Ray could not start from it.

    Args:
        run: output folder.
    """
    path = run / SNAPSHOT
    if not path.exists():
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))["checkpoint_results"]
        usable = all((run / entry["checkpoint_dir_name"]).is_dir() for entry in noted)
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        path.unlink()
