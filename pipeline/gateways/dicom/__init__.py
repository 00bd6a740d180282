"""DICOM in: the storage, MPPS and IAN SCP, and what any received object goes through. May import everything below gateways."""
