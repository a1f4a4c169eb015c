"""Probabilities → Score. NumPy in and out, one function per idea."""
