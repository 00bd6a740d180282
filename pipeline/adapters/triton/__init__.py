"""The risk model behind Triton, by gRPC. May import adapters.onnx (the reference), services, ports, domain and schemas."""
