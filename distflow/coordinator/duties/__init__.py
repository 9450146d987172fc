"""The duties of a coordinator, one per file: each says when it is due, and acts."""
