"""Tests of the parts of hotpair-network; test/node/network.test.ts runs them. By hand, from the repository's root:

PYTHONPATH=infra/node python3 -B -m unittest discover -s test/node/network_tests -t test/node
"""
