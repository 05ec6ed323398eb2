"""The owner of an output folder: the last command that began to train into it.

The driver leaves a token there. A worker whose driver was killed, and whose run was taken over
by another command meanwhile, finds another token and writes nothing more. It knows no Ray.
"""

from __future__ import annotations

import uuid

from cephray.errors import RunError
from cephray.storage import Place, replace_text

OWNER = ".owner"


def take_ownership(run: Place) -> str:
    """Make a run's folder this command's; return the token that its workers show.

    Args:
        run: output folder; must exist.

    Raises:
        OSError: the folder cannot be written to.
    """
    token = uuid.uuid4().hex
    replace_text(run / OWNER, token)
    return token


def require_ownership(run: Place, token: str) -> None:
    """Refuse to write into a folder that another command has taken over.

    Args:
        run: output folder.
        token: of the command that started this worker.

    Raises:
        RunError: another command goes on with the run.
    """
    owner = run / OWNER
    if not owner.exists() or owner.read_text(encoding="utf-8") != token:
        raise RunError(
            f"the run in {run} was taken over by another `cephray train`; this one wrote nothing "
            "more: let the other go on, or give another --output"
        )
