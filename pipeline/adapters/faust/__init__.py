"""Faust, made to keep its promises: whole partition batches, in order, acknowledged after commit. The only adapter that imports faust."""
