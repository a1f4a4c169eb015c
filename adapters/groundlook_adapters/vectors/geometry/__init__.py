"""Shapes in pixels ↔ geometry on the map; masks ↔ outlines."""
