"""What travels: values, tasks, batches and runs as bytes, JSON and hash fields."""
