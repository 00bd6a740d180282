"""The site file: YAML in, the policy of the domain out, every fault with its line. May import ports and the domain."""
