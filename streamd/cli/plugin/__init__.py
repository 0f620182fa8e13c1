"""`streamd plugin`: the start of a plugin of your own, and its tests."""
