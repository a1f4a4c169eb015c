"""Runs a LabelStudioMLBase subclass in the Python that label-studio-ml is installed in; `process` starts it.

Standard library and label-studio-ml only, from Python 3.7 on: nothing of Groundlook can be imported there. One JSON
object a line. Standard input brings {"label_config", "pictures", "folder"} once, then {"tasks"} for every call;
standard output gets {"model", "prefix"} once, then {"results"}; {"error"} where something was raised. What the subclass
prints goes to standard error. Works with 1.0.9 (PyPI) and 2.0.1dev (GitHub), whose calls and answers differ.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import inspect
import json
import os
import queue
import sys
import threading
from typing import Any


def main(script: str, name: str) -> None:
    """Answer until standard input ends. `script`: the subclass's file; `name`: of the class, "" for the only one."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed must not get between the answers
    asked: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    hello, model = asked.get(), None
    reply: dict[str, Any]
    while True:
        message = hello if model is None else asked.get()
        try:
            if model is None:
                model = make(find(script, name), message["label_config"])
                reply = {"model": type(model).__name__, "prefix": serve(message["pictures"], message["folder"])}
            else:
                reply = {"results": predict(model, message["tasks"])}
            line = json.dumps(reply, default=plain)
        except Exception as error:
            line = json.dumps({"error": f"{type(error).__name__}: {error}"[:2000]})
        out.write(line + "\n")
        out.flush()
        if model is None:
            sys.exit(1)


def listen(asked: queue.Queue[Any]) -> None:
    """Hand messages on; end this process as soon as the service is gone, also while the subclass is at work."""
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)


def find(script: str, name: str) -> Any:
    """The class, imported with its file's folder on the path, as `label-studio-ml start` does."""
    from label_studio_ml.model import LabelStudioMLBase  # type: ignore[import-not-found]

    sys.path[0] = os.path.dirname(os.path.abspath(script))  # not the folder of this file: its names are not theirs
    stem = os.path.splitext(os.path.basename(script))[0]
    spec: Any = importlib.util.spec_from_file_location(stem, script)
    if spec is None:
        raise ImportError(f"{script} is not a file of Python")
    module = sys.modules[stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {
        n: c
        for n, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, LabelStudioMLBase) and c is not LabelStudioMLBase
    }
    own = {n: c for n, c in found.items() if c.__module__ == stem} or found
    if name in found:
        return found[name]
    if name or len(own) != 1:
        raise ValueError(f"which subclass of LabelStudioMLBase? it has {', '.join(sorted(found)) or 'none'}; name one")
    return next(iter(own.values()))


def make(kind: Any, label_config: str) -> Any:
    """An instance, as label-studio-ml's own server makes it."""
    from label_studio_ml.model import LabelStudioMLBase

    if "project_id" in inspect.signature(LabelStudioMLBase.__init__).parameters:  # 2.0
        return kind(project_id="groundlook", label_config=label_config)
    return kind(label_config=label_config, hostname="", access_token="", model_version=None)


def predict(model: Any, tasks: list[Any]) -> list[Any]:
    """What it says of `tasks`, one for each, with the parameters that Label Studio sends."""
    answer = model.predict(tasks, context=None, login=None, password=None)
    return list(getattr(answer, "predictions", answer))  # 2.0 may wrap them


def plain(value: Any) -> Any:
    """Values of NumPy and pydantic, for JSON."""
    for name in ("model_dump", "tolist"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"{value!r} is no JSON")


class Pictures(http.server.SimpleHTTPRequestHandler):
    """Gives files by name and lists none."""

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, *args: Any) -> None:
        pass


def serve(pictures: str, folder: str) -> str:
    """What a file's name in `folder` is put behind, to be what a task's data says: see `process.PICTURES`."""
    if pictures == "path":
        return os.path.join(folder, "")
    if pictures == "files":
        return "/data/local-files/?d="
    handler = functools.partial(Pictures, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"


if __name__ == "__main__":
    main(*sys.argv[1:3])
