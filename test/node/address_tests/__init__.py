"""Tests of the program that moves the address in AWS; test/node/address.test.ts runs them. By hand, from the root:

PYTHONPATH=infra/node python3 -B -m unittest discover -s test/node/address_tests -t test/node
"""
