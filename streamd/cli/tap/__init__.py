"""`streamd tap`: a look at what flows, by way of the daemon's control socket."""
