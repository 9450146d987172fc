"""What a worker host runs: RQ jobs name ``distflow_worker.batch.run_batch``."""
