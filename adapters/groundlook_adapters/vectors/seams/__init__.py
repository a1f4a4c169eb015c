"""What several tiles saw of one thing → one feature."""
