"""The no-data guard: a watch on what a run reads. Evidence that no data was opened, not a sandbox.

`events` is what Python tells while it happens, `readers` what it would not tell, `kernel` what the system knows of the
process afterwards. `code` and `system` say what a file is; `no_data` judges; `ledger` keeps the record.
"""
