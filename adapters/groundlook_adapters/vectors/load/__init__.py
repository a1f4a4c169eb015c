"""Vector files → pre-annotations."""
