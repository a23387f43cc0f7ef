"""A child that ends with its parent, however that ends."""

from __future__ import annotations

import contextlib
import ctypes
import signal

# Not SIGTERM or SIGHUP: the parent may pass those on before it ends, and nohup ignores the latter.
PARENT_IS_GONE = signal.SIGUSR1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Let the kernel send PARENT_IS_GONE when this process's parent ends, by SIGKILL even.

    Who does not handle it is ended by it. Fit for `preexec_fn` of subprocess.
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(PARENT_IS_GONE))
