"""One file per published method; index.py is the table of them."""
