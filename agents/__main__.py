"""`python -m agents ROLE` runs one agent's worker."""

from __future__ import annotations

import sys

from agents.worker import run
from pipeline.adapters.telemetry.logging import configure
from pipeline.settings import Settings

settings = Settings()
configure(settings.log_format, settings.log_level)
run(sys.argv[1], settings)
