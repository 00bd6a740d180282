"""The HTTP gateway: FHIR and STOW-RS."""
