// The rules of hotpair-mariadb, its positions, wire format and files, tested where they are written: in Python, against a
// model of two servers wherever order matters.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-mariadb", "mariadb_tests", 120_000);
