"""Regions out to GIS files; pyogrio and pyproj live here."""
