"""Tests of what calls AWS, against moto; test/node/aws.test.ts runs them with an interpreter that has it, and says what
the stack would give each role (HOTPAIR_TEST_RIGHTS).
"""
