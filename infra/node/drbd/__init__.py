"""A pair's replicated block devices on one of its servers: attached on both, promoted on the node that holds the lease.

The lease decides who may write, `insync` whose copy counts; nothing in this package decides either. Standard library
only, Python 3.9.
"""
