"""Regions of tiles → GIS files, streamed."""
