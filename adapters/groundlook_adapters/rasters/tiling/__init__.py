"""Scenes → tiles → task data, each with its place and its fold."""
