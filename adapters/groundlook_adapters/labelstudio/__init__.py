"""Label Studio: its wire format, label configs, HTTP client, connection and queue."""
