"""A procedural piece of country seen from above: planned (where things stand), then painted (how they look)."""
