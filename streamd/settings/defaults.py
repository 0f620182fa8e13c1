"""What applies where a configuration says nothing. The only place where streamd names a plugin."""

CODEC = "json"

POLICIES = ("retry", "dead_letter")
"""Asked in this order where dead_letters has a reader; what they leave, blocks."""

POLICIES_WITHOUT_READER = ("retry", "block")
