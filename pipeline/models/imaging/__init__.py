"""The training side of image heads: films, encoder, read-outs, out-of-distribution check, export. May import adapters and domain."""
