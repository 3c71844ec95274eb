// The program that moves the address in AWS, tested where it is written: in Python, against a stand-in for AWS.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-address", "address_tests", 60_000);
