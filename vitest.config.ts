// Three projects: `unit` is pure and fast, `lab` needs root and real hosts, `e2e` drives the real Pulumi engine
// against them. They run one after the other, and lab and e2e file by file: the hosts share the machine's cores with
// whoever measures them. Group orders start at 1, since a project with one worker in group 0 runs last.
import { defineConfig } from "vitest/config";

const realHosts = { fileParallelism: false, testTimeout: 180_000, hookTimeout: 300_000, teardownTimeout: 120_000 };

export default defineConfig({
  test: {
    reporters: ["default", "./test/plain-count.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.lab.test.ts", "test/**/*.e2e.test.ts"],
          testTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { name: "lab", include: ["test/**/*.lab.test.ts"], ...realHosts, sequence: { groupOrder: 2 } } },
      {
        test: {
          name: "e2e",
          include: ["test/**/*.e2e.test.ts"],
          ...realHosts,
          testTimeout: 600_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
