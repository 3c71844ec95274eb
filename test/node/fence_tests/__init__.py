"""Tests of fencing's parts; test/node/fence.test.ts runs them. By hand, from the repository's root:

PYTHONPATH=infra/node python3 -B -m unittest discover -s test/node/fence_tests -t test/node
"""
