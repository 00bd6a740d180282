"""HL7 v2 over MLLP: frames in, events to the intake, acknowledgements out. May import everything below bootstrap and bootstrap itself."""
