"""A believable hospital that sends what hospitals send, and the department simulator (`department`). May import everything below bootstrap."""
