"""Readfirst's product code: domain, ports, services, adapters, gateways, worklist, models and the command line."""
