"""What a model said of windows, kept until a long run is over, so that one that was cut short can go on."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from groundlook.core.codec import decode_region, encode_region
from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.types import ModelVersion, Prediction

_SCHEMA = "create table if not exists said (model text, tile text, body text, primary key (model, tile))"
_SAVE_EVERY = 32


class Journal:
    """Implements `loop.scene.Memory`, in a file; without a path it keeps nothing. `identity`: of the model and what it
    was asked for; what another one said is forgotten. Regions only: what is for scoring is not kept. `resume`: leave
    the file to go on from when the run is cut short.

    Written by one thread, read by another. Raises InvalidInput where the file is none of ours."""

    def __init__(self, path: Path | None, identity: str, resume: bool = True) -> None:
        self._path, self._resume, self._new, self._lock = path, resume, 0, threading.Lock()
        self._db: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            self._db = sqlite3.connect(path, check_same_thread=False)
            self._db.execute(_SCHEMA)
            self._db.execute("delete from said where model <> ?", (identity,))
            self._db.commit()
        except sqlite3.Error as error:
            raise InvalidInput(f"{path} can't be gone on from ({error}); remove it, or leave --resume out") from None
        self._identity = identity

    @property
    def kept(self) -> bool:
        """Whether anything is."""
        return self._db is not None

    def has(self, tile: TileRef) -> bool:
        """Whether `get` would give anything."""
        return self._text(tile) is not None

    def get(self, tile: TileRef) -> Prediction | None:
        """See `loop.scene.Memory`."""
        text = self._text(tile)
        if text is None:
            return None
        body = json.loads(text)
        regions = tuple(decode_region(region) for region in body["regions"])
        return Prediction(ModelVersion.parse(body["version"]), regions, kind=body["kind"])

    def _text(self, tile: TileRef) -> str | None:
        if self._db is None:
            return None
        sql = "select body from said where model = ? and tile = ?"
        with self._lock:
            found = self._db.execute(sql, (self._identity, tile.uid)).fetchone()
        return None if found is None else str(found[0])

    def put(self, tile: TileRef, prediction: Prediction) -> None:
        """See `loop.scene.Memory`."""
        if self._db is not None:
            self.put_texts([(tile.uid, said_text(prediction))])

    def put_texts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Keep what somebody else made of windows: (uid of the tile, `said_text`)."""
        if self._db is None:
            return
        mine = [(self._identity, uid, text) for uid, text in rows]
        with self._lock:
            self._db.executemany("insert or replace into said values (?, ?, ?)", mine)
            self._new += len(mine)
            if self._new >= _SAVE_EVERY:
                self._db.commit()
                self._new = 0

    def done(self) -> None:
        """Everything was written: nothing to go on from."""
        if self._db is not None and self._path is not None:
            self._db.close()
            self._db = None
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keep what there is, where a run is to go on from it."""
        if not self._resume:
            self.done()
        if self._db is not None:
            self._db.commit()
            self._db.close()
            self._db = None


def said_text(prediction: Prediction) -> str:
    """A row's body."""
    regions = [encode_region(region) for region in prediction.regions]
    return json.dumps({"version": str(prediction.version), "kind": prediction.kind, "regions": regions})
