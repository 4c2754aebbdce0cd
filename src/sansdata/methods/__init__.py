"""One file per published method; index.py is the table of them, auto.py chooses one."""
