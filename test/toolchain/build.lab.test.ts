// Promises of the build: it appears in the cache whole or not at all, two at once become one, a killed one is cleaned up
// by the next, and Go's own trouble is reported with what to do. In place of the CLI, which takes minutes, a second
// small program is built.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { goProblem } from "../../infra/toolchain/build.ts";
import { goCommand, nodeDirectory } from "../../infra/toolchain/places.ts";

const problem = goProblem(goCommand());
if (problem) console.log(`skipped: building the toolchain: ${problem}`);

describe.skipIf(problem)("building the toolchain", () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), "hotpair-build-"));
  });
  afterEach(() => rmSync(cache, { recursive: true, force: true }));

  const script = `
    import { buildToolchain } from "${join(import.meta.dirname, "../../infra/toolchain/build.ts")}";
    import { builtPlaces } from "${join(import.meta.dirname, "../../infra/toolchain/places.ts")}";
    try {
      await buildToolchain(builtPlaces(), (line) => console.log(line), "./cmd/pulumi-language-nodejs");
    } catch (error) {
      console.log([error.message, ...error.details].join("\\n"));
      process.exitCode = 2;
    }`;

  function build(environment: Record<string, string> = {}): {
    child: ChildProcess;
    done: Promise<string>;
    said: () => string;
  } {
    const child = spawn(join(nodeDirectory, "node"), ["--input-type=module", "-e", script], {
      env: { ...process.env, HOTPAIR_CACHE: cache, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let printed = "";
    child.stdout?.on("data", (data: Buffer) => (printed += data.toString()));
    const done = new Promise<string>((resolve) => child.once("close", (code) => resolve(`${printed}exit ${code}`)));
    return { child, done, said: () => printed };
  }
  const builds = () => (existsSync(join(cache, "toolchain")) ? readdirSync(join(cache, "toolchain")) : []);

  test("two at once become one build", async () => {
    const [one, other] = await Promise.all([build().done, build().done]);
    expect([one, other].filter((text) => text.includes("building the Pulumi CLI"))).toHaveLength(1);
    expect([one, other].filter((text) => text.includes("waiting for it"))).toHaveLength(1);
    expect([one, other].every((text) => text.endsWith("exit 0"))).toBe(true);
    expect(builds()).toHaveLength(1);
    expect(builds()[0]).toMatch(/^3\.259\.0-[0-9a-f]{16}$/);
  });

  test("a killed build leaves nothing that looks finished, and the next one makes it whole", async () => {
    const killed = build();
    await expect.poll(killed.said, { timeout: 120_000 }).toContain("building the Pulumi CLI");
    killed.child.kill("SIGKILL");
    await killed.done;
    expect(builds().filter((name) => !name.startsWith("."))).toEqual([]);
    expect(await build().done).toMatch(/exit 0$/);
    expect(builds()).toHaveLength(1);
  });

  test("a Go that is too old is named with its version and what to install", async () => {
    const old = join(cache, "bin", "go");
    mkdirSync(join(cache, "bin"));
    writeFileSync(old, "#!/bin/sh\necho go version go1.19.8 linux/amd64\n", { mode: 0o755 });
    const said = await build({ PATH: `${join(cache, "bin")}:${process.env.PATH}` }).done;
    expect(said).toContain(`Go 1.19.8 at ${old} is too old; install Go 1.25 or later`);
    expect(said).toContain("exit 2");
    expect(builds()).toEqual([]);
  });

  test("a module proxy that cannot be reached is an error with Go's words and the variables to set", async () => {
    const said = await build({
      GOPROXY: "http://127.0.0.1:1",
      GOMODCACHE: join(cache, "modules"),
      GOFLAGS: "-modcacherw",
    }).done;
    expect(said).toMatch(/connection refused/);
    expect(said).toContain("with a mirror set GOPROXY");
    expect(builds().filter((name) => !name.startsWith("."))).toEqual([]);
  });
});
