"""What happened: a run as NDJSON, its digest, its replay, its judge, and two ways to look at it."""
