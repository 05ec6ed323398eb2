"""The errors of cephray. Each message is one line for the user.

A message says what was given, what is allowed, and the cure. `cli/command.py` turns them into
exit codes.
"""


class InputError(ValueError):
    """Raised if the user's input cannot be used: data, option, config key or checkpoint.

    It is raised before anything is written. The command's exit code is 2.
    """


class RunError(RuntimeError):
    """Raised if a run fails although its input is valid.

    Examples are missing resources, a lost worker and a diverged loss. The command's exit code
    is 1.
    """


class Stopped(BaseException):
    """Raised if a signal ends the command: SIGTERM (pre-emption, `ray job stop`) or Ctrl-C.

    The command's exit code is 128 plus the signal's number: 143 or 130. The class derives from
    `BaseException`, so that `except Exception` does not catch it.

    Args:
        signal: number of the signal.
        message: what was saved, and how to continue.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> int:
        """Exit code of the command: 128 plus the signal's number."""
        return 128 + self.signal
