"""HL7 v2 messages: bytes in, arrivals and acknowledgements out. Alone imports `hl7`. May import services, ports, domain and schemas."""
