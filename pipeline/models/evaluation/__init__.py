"""Figures of any probabilistic classifier, whatever its inputs; numpy only (plots: matplotlib). May import nothing of Readfirst."""
