"""Fine-tuning on a site's own pairs: manifest, splits, adapted encoder, joined logits, one graph. May import adapters and domain."""
