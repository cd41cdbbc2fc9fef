"""Ties a child process to its parent: ``python tether.py PARENT_PID COMMAND...``.

Linux only: the kernel sends SIGTERM when the thread that started the child ends
(prctl(2), PR_SET_PDEATHSIG), also when the parent was killed with -9. The setting survives
execve, so any program can be tethered, and the parent needs no code between fork and exec.
Elsewhere the command runs untethered. Run as a script with ``-I -S``: it must stay light.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to the parent given, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the tie was made
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose


if __name__ == "__main__":
    main()
