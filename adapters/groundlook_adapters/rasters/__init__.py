"""Rasters in: scenes, tiles, pictures; rasterio lives here."""
