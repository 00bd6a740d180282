"""The risk model in this process, by onnxruntime. May import services, ports, domain and schemas."""
