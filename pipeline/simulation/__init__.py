"""A believable hospital that sends what hospitals send, and the reading-room simulator (`department`). May import all below bootstrap."""
