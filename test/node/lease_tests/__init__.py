"""Tests of the lease's parts; test/node/lease.test.ts runs them. By hand, from the repository's root:

PYTHONPATH=infra/node python3 -B -m unittest discover -s test/node/lease_tests -t test/node
"""
