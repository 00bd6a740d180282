"""The Faust application and its agents: wiring only, no rules."""
