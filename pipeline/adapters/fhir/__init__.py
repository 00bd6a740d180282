"""FHIR R4B resources to events (fhir.resources is isolated here). May import what stands below adapters."""
