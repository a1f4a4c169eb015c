"""The running product: settings, wiring, the HTTP service, the worker and the command line."""
