"""Pictures as a model sees them: bytes to grey values, grey values to the model's input. May import ports, domain and errors."""
