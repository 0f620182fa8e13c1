"""What streamd costs, beside the bare libraries and its peers; README.md names every benchmark."""
