"""The errors of cephray. Each message is one line for the user.

A message says what was given, what is allowed, and the cure. `cli/command.py` turns them into
exit codes.
"""


class InputError(ValueError):
    """The user gave something that cannot be used: data, option, config key or checkpoint.

    Exit code 2. Raised before anything is written.
    """


class RunError(RuntimeError):
    """A run that started with valid input failed: resources, a lost worker, a diverged loss.

    Exit code 1.
    """


class Stopped(BaseException):
    """A signal ended the command: SIGTERM (pre-emption, `ray job stop`) or Ctrl-C.

    Exit code 143 or 130, 128 and the signal's number. No `except Exception` may swallow it.

    Args:
        signal: its number.
        message: what was saved, and how to go on.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> int:
        """Exit code of the command."""
        return 128 + self.signal
