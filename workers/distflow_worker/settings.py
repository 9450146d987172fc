"""For ``rq worker -c distflow_worker.settings``: what a batch needs is imported once, before the
worker forks, instead of in each work horse.
"""

from __future__ import annotations

# Imported for the work horses, which find them loaded; a batch imports the hooks' part when it
# has to ask one.
import distflow_worker.batch
import distflow_worker.verify  # noqa: F401
from distflow.config import environment_url
from distflow.redis_url import tidy_url

#: RQ takes the address from here, and no more from the environment, where it is given settings.
REDIS_URL = tidy_url(environment_url())
