"""Features, scores, windows and what was served: derived data that can be rebuilt."""
