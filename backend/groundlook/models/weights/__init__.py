"""Weights in, from paths and URLs, without running anything that they hold."""
