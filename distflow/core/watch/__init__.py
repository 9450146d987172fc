"""What is judged of workers and batches from what was seen of them, without asking anybody."""
