"""What Label Studio posts to /predict, read without building what nobody looks at.

Every call carries all annotations, drafts and predictions of its tasks: on a task of 500 brush regions megabytes, which
the decoder passes over here at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import HTTPException

from groundlook.core.errors import InvalidInput


class _Task(msgspec.Struct):
    """What we read of a task."""

    id: Any = None
    data: Any = None
    is_labeled: Any = None


class _Item(msgspec.Struct):
    id: Any = None


class _Annotation(msgspec.Struct):
    result: list[_Item] | None = None


class _Saved(msgspec.Struct):
    """The ids of a task's saved regions, without the regions."""

    annotations: list[_Annotation] | None = None


class _Params(msgspec.Struct):
    context: Any = None


class PredictBody(msgspec.Struct):
    """A call of /predict. `tasks`: JSON, not read yet: one that is broken is no reason to refuse the others."""

    project: Any = None
    tasks: list[msgspec.Raw] | None = None
    params: _Params | None = None

    @property
    def context(self) -> Any:
        """What an annotator points at, None where the call is no interactive one."""
        return None if self.params is None else self.params.context

    def bodies(self) -> list[Mapping[str, Any] | InvalidInput]:
        """The tasks, or what is wrong with each. Raises InvalidInput where there is no list of them."""
        if self.tasks is None:
            raise InvalidInput("the body has no list `tasks`; send what Label Studio sends to /predict")
        return [_task(raw) for raw in self.tasks]

    def saved(self) -> frozenset[str]:
        """The ids of the regions in the annotations of the first task; none where they can't be read."""
        try:
            found = msgspec.json.decode((self.tasks or [])[0], type=_Saved)
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError):
            return frozenset()
        items = (item for annotation in found.annotations or () for item in annotation.result or ())
        return frozenset(str(item.id) for item in items if item.id is not None)


def read_predict(raw: bytes) -> PredictBody:
    """Raises HTTPException 400 where it is no JSON object, InvalidInput where `tasks` is no list."""
    try:
        return msgspec.json.decode(raw, type=PredictBody)
    except msgspec.ValidationError as error:
        if raw.lstrip()[:1] != b"{":
            raise HTTPException(400, "the body is not JSON, or not a JSON object") from None
        raise InvalidInput(f"the body is not what Label Studio sends to /predict: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


def _task(raw: msgspec.Raw) -> Mapping[str, Any] | InvalidInput:
    try:
        return msgspec.structs.asdict(msgspec.json.decode(raw, type=_Task))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return InvalidInput(f"a task is not an object: {bytes(raw)[:80]!r}")
