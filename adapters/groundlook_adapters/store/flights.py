"""Single flight: of threads that want the same thing at the same time, one makes it and all get it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Flights:
    """Work under way in this process, by name. Thread-safe."""

    def __init__(self) -> None:
        self._flights: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def once(self, name: str, work: Callable[[], bytes]) -> bytes:
        """What `work` gives. Whoever asks for `name` while somebody works on it gets that result, or the error that
        the work raised. `work` must not ask for `name` again."""
        with self._lock:
            flight = self._flights.get(name)
            mine: Future[bytes] = Future()
            if flight is None:
                self._flights[name] = mine
        if flight is not None:
            return flight.result()
        try:
            data = work()
            mine.set_result(data)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[name]
        return data
