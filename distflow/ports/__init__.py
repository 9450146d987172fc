"""The contracts of stores, dispatchers and backends."""
