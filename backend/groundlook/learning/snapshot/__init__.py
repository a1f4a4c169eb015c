"""An immutable, hashed dataset made of annotations at one moment: what is in it, what is wrong, what changed."""

from groundlook.learning.snapshot.file import find_snapshot, list_snapshots, load_snapshot, save_snapshot
from groundlook.learning.snapshot.make import make_snapshot, rule_of

__all__ = ["find_snapshot", "list_snapshots", "load_snapshot", "make_snapshot", "rule_of", "save_snapshot"]
