"""streamd beside the bare libraries: the same work on the same servers, one after the other."""
