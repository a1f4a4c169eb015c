"""What every trainer of PyTorch networks shares: examples on disk, a process of its own, one loop."""
