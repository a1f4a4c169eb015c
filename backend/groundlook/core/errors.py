"""Every error that Groundlook raises on purpose, with its remedy in the message.

GroundlookError
├── InvalidInput          what a caller sent can't be used                  (HTTP 422)
│   ├── InvalidConfig     a label config we can't serve
│   ├── InvalidRaster     a raster that can't be read or placed
│   ├── InvalidImage      a task image that can't be fetched or decoded
│   └── InvalidWeights    weights that are missing, changed or of the wrong shape
├── NotAllowed            a path, host or token outside what the admin allowed (HTTP 403)
├── NotFound              an unknown project, task, scene or model          (HTTP 404)
├── Busy                  somebody else holds what is needed; try again     (HTTP 503)
├── Conflict              somebody else was faster: what was decided no longer holds (HTTP 409)
├── Cancelled             somebody cancelled the work                       (HTTP 409)
├── EmptyPool             nothing is left to rank                           (HTTP 409)
├── TrainingFailed        the training process ended without a model        (HTTP 500)
└── LabelStudioError      Label Studio is down or refused                   (HTTP 502)
"""

from __future__ import annotations


class GroundlookError(Exception):
    """Root of the tree above. `str(error)` names the offending value and the remedy, and is safe to show."""


class InvalidInput(GroundlookError):
    """What a caller sent can't be used."""


class InvalidConfig(InvalidInput):
    """A label config we can't serve."""


class InvalidRaster(InvalidInput):
    """A raster that can't be read or placed on the map."""


class InvalidImage(InvalidInput):
    """A task image that can't be fetched or decoded."""


class InvalidWeights(InvalidInput):
    """Weights that are missing, changed or of the wrong shape."""


class NotAllowed(GroundlookError):
    """A path, host or token outside what the admin allowed."""


class NotFound(GroundlookError):
    """An unknown project, task, scene or model."""


class Busy(GroundlookError):
    """Somebody else holds what is needed."""


class Conflict(GroundlookError):
    """Somebody else was faster: what was decided no longer holds."""


class Cancelled(GroundlookError):
    """Somebody cancelled the work."""


class EmptyPool(GroundlookError):
    """Nothing is left to rank."""


class TrainingFailed(GroundlookError):
    """The training process ended without a model."""


class LabelStudioError(GroundlookError):
    """Label Studio is down, or refused what was asked. `status` is its HTTP status, None if it did not answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
