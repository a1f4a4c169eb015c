"""Pixels → what annotators see."""
