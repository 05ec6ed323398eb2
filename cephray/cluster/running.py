"""A check, limited in time, that a running Ray cluster can be connected to.

Ray itself waits for minutes, in silence, where the address is dead, where something else listens
there, or where no node of the cluster lives on this machine.
"""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlsplit

from ray.exceptions import AuthenticationError

from cephray.cluster.ray_private import connect_to_head, recorded_address, require_node
from cephray.errors import InputError, RunError
from cephray.progress import quiet_stderr

ANSWER_WITHIN_S = 8  # for the address, and again for the node
_OTHERWISE = "set RAY_ADDRESS to another cluster, or RAY_ADDRESS=local to use this machine alone"


def require_cluster() -> str | None:
    """Refuse a cluster that `ray.init` would find and could not use.

    The cluster is the one that `RAY_ADDRESS` names, or else the one that Ray's own record on this
    machine names. If there is neither, Ray starts a cluster, and nothing is checked.

    Returns:
        The address of a cluster that only the record names, so that nobody asked for it.
        Otherwise None.

    Raises:
        InputError: the address is that of Ray's client.
        RunError: names the address, what is wrong there, and what to do.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if given == "local":
        return None
    named = f"RAY_ADDRESS={given}"
    if "://" in given:
        raise InputError(
            f"{named}: a command cannot use a cluster through Ray's client; submit it as a job "
            "(`ray job submit`), or run it on a node of the cluster with RAY_ADDRESS=auto"
        )
    try:
        address = recorded_address()
    except (OSError, ValueError) as error:
        raise _no_answer(named, error) from None
    if address is None:
        return None
    if given in ("", "auto"):
        named = f"{address} (from Ray's record of this machine)"
    _require_listener(address, named)
    _require_node(address, named)
    return None if given else address


def _require_listener(address: str, named: str) -> None:
    """Refuse an address where nothing listens."""
    try:
        place = urlsplit(f"//{address}")
        if place.hostname and place.port:
            where = (place.hostname, place.port)
            socket.create_connection(where, timeout=ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        raise _no_answer(named, error) from None


def _no_answer(named: str, error: Exception) -> RunError:
    reason = " ".join(str(error).split()).rstrip(".")
    cure = "start it" if named.startswith("RAY_ADDRESS") else "remove the record by `ray stop`"
    return RunError(f"no Ray cluster answers at {named} ({reason}): {cure}, or {_OTHERWISE}")


def _require_node(address: str, named: str) -> None:
    """Refuse what is no Ray cluster, or has no node on this machine; a driver needs one."""
    steps: list[str] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            client = connect_to_head(address)
            steps.append("answered")
            require_node(client, ANSWER_WITHIN_S)
            steps.append("has a node")
        except Exception as error:  # Ray raises bare ones
            errors.append(error)

    # In a thread, because the client waits 40 s for an answer and takes no shorter time.
    asking = threading.Thread(target=ask, name="cephray-cluster-check", daemon=True)
    with quiet_stderr():  # native code writes there what the message says
        asking.start()
        asking.join(ANSWER_WITHIN_S + 1)
    if steps == ["answered", "has a node"]:
        return
    if errors and isinstance(errors[0], AuthenticationError):
        raise RunError(
            f"the Ray cluster at {named} asks for a token: set RAY_AUTH_MODE=token, with the "
            f"head's token in ~/.ray/auth_token or RAY_AUTH_TOKEN; or {_OTHERWISE}"
        )
    if steps == ["answered"]:
        raise RunError(
            f"the Ray cluster at {named} has no living node on this machine, its node process may "
            f"have died: end it by `ray stop` and start it again, or {_OTHERWISE}"
        )
    raise RunError(
        f"what listens at {named} does not answer as a Ray cluster: end it by `ray stop`, or "
        f"{_OTHERWISE}"
    )
