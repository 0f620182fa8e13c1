"""The same windows in streamd, Bytewax and Quix Streams: `python -m benchmarks.peers --help`."""
