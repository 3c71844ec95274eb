"""Tests of hotpair-drbd: its rules, its handler against an authority that is made here, its first set-up on files.

Run from the root: PYTHONPATH=infra/node python3 -m unittest discover -s test/node/drbd_tests -t test/node
"""
