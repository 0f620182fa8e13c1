"""`streamd dlq`: look at dead letters, let them in again, keep them elsewhere or discard them."""
