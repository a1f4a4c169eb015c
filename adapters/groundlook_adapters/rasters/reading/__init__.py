"""Rasters, opened and read safely: files, VRTs, URLs and buckets."""
