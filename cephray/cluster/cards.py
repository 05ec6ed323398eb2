"""Questions to nvidia-smi about the graphics cards of this machine.

It needs neither Ray nor TensorFlow.
"""

from __future__ import annotations

import subprocess

_ANSWER_WITHIN_S = 30.0


def ask_cards(fields: str, *options: str) -> str | None:
    """Ask nvidia-smi about the cards.

    Args:
        fields: names of its query, separated by commas, such as "name,driver_version".
        options: further options of the command.

    Returns:
        A line for each card, without units, or None if there is no nvidia-smi, no card or no
        answer.
    """
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", *options]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_ANSWER_WITHIN_S
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
