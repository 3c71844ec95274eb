// `unit` is pure and fast; `lab` needs root and real hosts; `e2e` drives the real Pulumi engine against them. `stateful`
// has the parts of pairs with a witness and a database one by one, and networks that hotpair sets up; it takes long and is run
// by name, `npm run test:stateful`.
// Unit tests run first. The others share the machine's cores with the hosts that they measure and wait for them most of the
// time: two files at once, each with a lab of its own name. `machine` boots virtual machines, whose emulated processors take
// all of them: after the others, one file at a time. (Group orders start at 1: in group 0, vitest moves a project with
// one worker to the end.)
import { defineConfig } from "vitest/config";

const withRealHosts = {
  maxWorkers: 2,
  sequence: { groupOrder: 2 },
  testTimeout: 300_000,
  hookTimeout: 300_000,
  teardownTimeout: 120_000,
};

export default defineConfig({
  test: {
    reporters: ["default", "./test/plain-count.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.{lab,e2e,stateful,machine}.test.ts"],
          maxWorkers: 2,
          testTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { name: "lab", include: ["test/**/*.lab.test.ts"], ...withRealHosts } },
      { test: { name: "e2e", include: ["test/**/*.e2e.test.ts"], ...withRealHosts, testTimeout: 600_000 } },
      { test: { name: "stateful", include: ["test/**/*.stateful.test.ts"], ...withRealHosts, testTimeout: 600_000 } },
      {
        test: {
          name: "machine",
          include: ["test/**/*.machine.test.ts"],
          ...withRealHosts,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
