"""The language that everything speaks: events, codes, identifiers, topics and their codec. Imports nothing of Readfirst."""
