"""What `bench jobs` needs: a Redis of its own, and workers in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from groundlook.core.ports import Progress
from groundlook.core.types import Job
from groundlook_adapters.jobs.remote import RedisJobs

LANES = {"nap": "naps", "ready": "ready"}
NAP_S = 0.05


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a redis-server on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def seconds_with(url: str, workers: int, jobs: int) -> float:
    """How long `workers` processes take for `jobs` naps, from when all of them are there."""
    from redis import Redis

    with Redis.from_url(url) as bare, closing(RedisJobs(url, LANES)) as queue, ExitStack() as stack:
        bare.flushall()
        for _ in range(workers):
            child = subprocess.Popen([sys.executable, __file__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(child.wait)
            stack.callback(child.terminate)
            assert child.stdin is not None
            assert child.stdout is not None
            stack.enter_context(child.stdin)
            stack.enter_context(child.stdout).readline()
        start = time.perf_counter()
        numbers = [queue.submit("nap", 1, key=str(i)) for i in range(jobs)]
        while any(queue.job(n).state != "done" for n in (numbers[-1], *numbers)):
            time.sleep(0.01)
        return time.perf_counter() - start


def nap(job: Job, progress: Progress) -> str:
    """Computes nothing, so that workers don't wait for each other's cores."""
    time.sleep(NAP_S)
    return ""


if __name__ == "__main__":
    with closing(RedisJobs(sys.argv[1], LANES)) as mine, mine.working({"nap": nap}, grace=0.0):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
