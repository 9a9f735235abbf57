"""What serves tools/batch.py: the table, its places, records of results, processes, the report."""
