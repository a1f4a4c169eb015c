"""Sets that are labelled already, each with a model that learns from any part of it: what replays run on."""
