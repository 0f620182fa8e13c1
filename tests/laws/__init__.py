"""The laws of the house, checked by reading the source. Each is `law(root) -> violations`."""
