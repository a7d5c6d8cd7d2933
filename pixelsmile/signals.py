"""Stop when asked to, SIGINT, SIGTERM or SIGUSR1, but between two steps and never inside one.

SIGUSR1 is what SLURM sends ahead of the end of a job (`#SBATCH --signal=USR1@120`). The exit code
is 128 + the number of the signal, as a shell counts: 130, 143, 138.
"""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stopped(SystemExit):
    """The process was asked to stop and has put everything in order.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name


class StopSignals:
    """While it is open, a signal raises `Stopped`: at once, or where a holder allows it.

    Whoever is inside something that has to be finished holds, and asks `check` when it is done.
    A second Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin to catch signals."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals from whoever has taken them since, as Lightning does in every run."""
        for number in self._before:
            signal.signal(number, self._handle)

    def hold(self) -> None:
        """Let signals wait for `check` from now on."""
        self._held = True

    def release(self) -> None:
        """Let signals raise at once from now on, also one that has been waiting.

        Raises:
            Stopped: If one has.
        """
        self._held = False
        self.check()

    def check(self) -> None:
        """Stop if it was asked for.

        Raises:
            Stopped: If so.
        """
        if self.received is not None:
            raise Stopped(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked child, which is not meant
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
            return
        impatient = number == signal.SIGINT and self.received is not None
        self.received = number if self.received is None else self.received
        if impatient or not self._held:
            raise Stopped(number)
