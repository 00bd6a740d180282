"""DICOM objects read and sent: bounded headers, their meaning, and a C-STORE client. May import domain, ports, errors and schemas."""
