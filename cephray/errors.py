"""The two ways in which a cephray command ends badly; each message is one line for the user.

A message says what was given, what is allowed, and the cure. `cli.py` turns them into exit codes.
"""


class InputError(ValueError):
    """The user gave something that cannot be used: data, option, config key or checkpoint.

    Exit code 2. Raised before anything is written.
    """


class RunError(RuntimeError):
    """A run that started with valid input failed: resources, a lost worker, a diverged loss.

    Exit code 1.
    """
