"""Runs Label Studio so that it dies with the process that started it. Standard library only: it is run by the
Python of Label Studio's own environment, as `python -I launcher.py PARENT_PID arguments…`.

A thread watches the parent rather than PR_SET_PDEATHSIG, which fires when the *thread* that started us ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def watch(parent: int, poll: float = 0.5) -> None:
    """End this process and all of its group as soon as `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(poll)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Become `label-studio arguments…`."""
    parent = int(sys.argv[1])
    threading.Thread(target=watch, args=(parent,), name="die-with-parent", daemon=True).start()
    sys.argv = ["label-studio", *sys.argv[2:]]
    server = __import__("label_studio.server", fromlist=["main"])
    server.main()


if __name__ == "__main__":
    main()
