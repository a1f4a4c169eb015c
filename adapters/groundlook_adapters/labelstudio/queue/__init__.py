"""Ways to publish an order to Label Studio's queue."""
