"""Where DICOM objects rest. May import ports and errors."""
