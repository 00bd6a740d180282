"""One network over a set of events and image tokens, a rival of what ships: training, comparison, card. May import the other models."""
