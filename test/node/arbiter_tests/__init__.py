"""Tests of the arbiter's pure parts; test/node/arbiter.test.ts runs them. By hand, from the repository's root:

PYTHONPATH=infra/node python3 -B -m unittest discover -s test/node/arbiter_tests -t test/node
"""
