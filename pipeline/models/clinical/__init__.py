"""The clinical risk head: data, network, training, evaluation, export. May import adapters.onnx and the domain."""
