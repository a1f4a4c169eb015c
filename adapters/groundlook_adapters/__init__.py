"""What joins Groundlook to the world: Label Studio, rasters, vectors, the store, the job engine."""
