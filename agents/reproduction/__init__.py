"""The tables and figures of Cao et al. (CVPR 2017), each from one command: ``python evaluate.py table1``.

`rows` says what stands in which table, `cells` which run makes a row, `making` trains and measures it,
`collecting` finds its record again, `rendering` and `latency` write the tables and `figures` the pictures,
`request` is what the command line asks for, and `pages` puts the same tables into the documentation.
"""
