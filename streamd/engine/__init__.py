"""The engine: batches through a fused chain into slots, acked by epochs. Knows no plugin."""
