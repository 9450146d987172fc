"""For ``rq worker -c distflow_worker.settings``: imports what a batch needs once, before the worker
forks, instead of in each work horse.
"""

from __future__ import annotations

# Imported so that work horses find them loaded; a batch alone would import the parts for hooks,
# maps and plans only when it meets one.
import distflow_worker.batch
import distflow_worker.map_node
import distflow_worker.plan_node
import distflow_worker.verify  # noqa: F401
from distflow.config import environment_url
from distflow.redis_url import tidy_url

#: With settings, RQ takes the address from here and no longer from the environment.
REDIS_URL = tidy_url(environment_url())
