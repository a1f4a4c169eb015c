"""Segment Anything: prompts → masks, boxes → masks, and everything in a picture."""
