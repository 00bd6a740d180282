"""Protocol in, events out: DICOM, HL7 v2, FHIR. May import everything below bootstrap and bootstrap itself."""
