"""In-memory twins of every port, held to the contract tests of the real adapters. May import ports, schemas and modules beside it."""
