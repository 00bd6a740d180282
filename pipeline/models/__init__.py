"""Training, evaluation and export of the risk models, and Triton's repository of them. The only place that imports torch."""
