"""Replay: a whole active-learning experiment on a set that is labelled already, with simulated annotators."""

from groundlook.evaluation.replay.many import replay
from groundlook.evaluation.replay.values import Replay, Run, Setup

__all__ = ["Replay", "Run", "Setup", "replay"]
