"""A believable hospital that sends what hospitals send, and (later) the department simulator. May import everything below bootstrap."""
