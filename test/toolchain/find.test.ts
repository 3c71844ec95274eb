// Promises: the order PATH, official, built; only what can really be used is used; the user's own settings stay; what is
// there is found at once. The CLIs in these directories only print a version: here the choice is tested, not Pulumi.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UserError } from "../../infra/model/errors.ts";
import { findToolchain } from "../../infra/toolchain/find.ts";
import { inspectToolchain } from "../../infra/toolchain/inspect.ts";
import { compatibleOnPath, incompatibility } from "../../infra/toolchain/path.ts";
import { builtPlaces, nodeDirectory, officialPulumi } from "../../infra/toolchain/places.ts";

const look = { build: false };

describe("finding a Pulumi", () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "hotpair-find-"));
    for (const name of ["PULUMI_CREDENTIALS_PATH", "PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"]) {
      vi.stubEnv(name, undefined);
    }
    for (const name of ["XDG_CACHE_HOME", "XDG_STATE_HOME"]) vi.stubEnv(name, undefined);
    vi.stubEnv("HOME", home);
    vi.stubEnv("PULUMI_HOME", join(home, ".pulumi"));
    vi.stubEnv("HOTPAIR_CACHE", join(home, "cache"));
    vi.stubEnv("PATH", ["/usr/bin", "/bin"].join(delimiter));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    // `go version` may still be writing its telemetry there.
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });

  function program(file: string, script = "exit 0"): string {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  }
  function pulumiAt(directory: string, version: string): string {
    program(join(directory, "pulumi-language-nodejs"));
    return program(join(directory, "pulumi"), `echo v${version}`);
  }
  const putOnPath = (directory: string) => vi.stubEnv("PATH", [directory, "/usr/bin", "/bin"].join(delimiter));
  const installPlugin = () => program(join(home, ".pulumi/plugins/resource-command-v1.2.1/pulumi-resource-command"));
  const installOfficial = () => pulumiAt(dirname(officialPulumi()), "3.259.0");
  function installBuilt() {
    const places = builtPlaces();
    pulumiAt(dirname(places.pulumi), "3.259.0");
    program(places.plugin);
    return places;
  }

  test("PATH comes first, with the project's Node before it and nothing else changed", async () => {
    const pulumi = pulumiAt(join(home, "bin"), "3.260.1");
    putOnPath(dirname(pulumi));
    installPlugin();
    installOfficial();
    installBuilt();
    const found = await findToolchain(look);
    expect(found).toMatchObject({ kind: "path", pulumi, version: "3.260.1" });
    expect(found.notice).toBeUndefined();
    expect(found.env.PATH?.split(delimiter).slice(0, 2)).toEqual([nodeDirectory, dirname(pulumi)]);
    expect(found.env.PULUMI_HOME).toBeUndefined();
  });

  test("a CLI on PATH is passed over when it is too old, has no Node host, or its plugin is not there", async () => {
    installBuilt();
    const old = pulumiAt(join(home, "old"), "3.200.0");
    putOnPath(dirname(old));
    installPlugin();
    expect((await findToolchain(look)).kind).toBe("built");
    expect(compatibleOnPath()[0]?.problem).toMatch(/3\.200\.0 is older than 3\.259\.0/);

    // Like the npm wrapper in node_modules/.bin, which would download a CLI.
    putOnPath(dirname(program(join(home, "wrapper", "pulumi"), "exit 1")));
    expect((await findToolchain(look)).kind).toBe("built");

    rmSync(join(home, ".pulumi"), { recursive: true });
    putOnPath(dirname(pulumiAt(join(home, "new"), "3.259.0")));
    expect((await findToolchain(look)).kind).toBe("built");
  });

  test("the official download comes before the build", async () => {
    installBuilt();
    const pulumi = installOfficial();
    installPlugin();
    expect(await findToolchain(look)).toMatchObject({ kind: "official", pulumi, version: "3.259.0" });
  });

  test("the build has a home of its own, the user's credentials and other plugins, and says that it is one", async () => {
    const places = installBuilt();
    program(join(home, ".pulumi/plugins/resource-aws-v7.0.0/pulumi-resource-aws"));
    const found = await findToolchain(look);
    expect(found).toMatchObject({ kind: "built", pulumi: places.pulumi });
    expect(found.notice).toMatch(/stand-ins/);
    expect(found.notice).not.toContain("\n");
    expect(found.env).toMatchObject({ PULUMI_HOME: places.home, PULUMI_CREDENTIALS_PATH: join(home, ".pulumi") });
    expect(readdirSync(join(places.home, "plugins")).sort()).toEqual([
      "resource-aws-v7.0.0",
      "resource-command-v1.2.1",
    ]);
    expect(existsSync(join(places.home, "plugins/resource-aws-v7.0.0/pulumi-resource-aws"))).toBe(true);
    await findToolchain(look); // and again, with the links in place
  });

  test("the stand-in does not take the place of an official plugin that is installed", async () => {
    installBuilt();
    installPlugin();
    const found = await findToolchain(look);
    expect(found.kind).toBe("built");
    expect(found.env.PULUMI_HOME).toBeUndefined();
  });

  test("nothing there and nothing to be built: an error that names the command", async () => {
    await expect(findToolchain(look)).rejects.toThrow(UserError);
    await expect(findToolchain(look)).rejects.toThrow(/hotpair setup/);
  });

  test("stacks go to files of hotpair's own only when the user has chosen no backend", async () => {
    installBuilt();
    const backend = async () => (await findToolchain(look)).env.PULUMI_BACKEND_URL;
    const own = await backend();
    expect(own).toBe(`file://${join(home, ".local/state/hotpair/pulumi")}`);
    expect(statSync(fileURLToPath(own ?? "")).mode & 0o777).toBe(0o700);

    vi.stubEnv("PULUMI_BACKEND_URL", "s3://somewhere");
    expect(await backend()).toBeUndefined();
    vi.stubEnv("PULUMI_BACKEND_URL", undefined);
    vi.stubEnv("PULUMI_ACCESS_TOKEN", "token");
    expect(await backend()).toBeUndefined();
    vi.stubEnv("PULUMI_ACCESS_TOKEN", undefined);
    mkdirSync(join(home, ".pulumi"), { recursive: true });
    writeFileSync(join(home, ".pulumi", "credentials.json"), '{"current":"https://api.pulumi.com"}');
    expect(await backend()).toBeUndefined();
    writeFileSync(join(home, ".pulumi", "credentials.json"), '{"current":""}');
    expect(await backend()).toBe(own);
  });

  test("what is there is found within 50 ms, without a process or the network", async () => {
    putOnPath(dirname(pulumiAt(join(home, "bin"), "3.259.0")));
    installPlugin();
    await findToolchain(look); // asks the CLI for its version, once
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      await findToolchain(look);
      times.push(performance.now() - started);
    }
    expect(Math.min(...times)).toBeLessThan(50);
  });

  test("the report says what is there, from where, and what is missing", async () => {
    const places = installBuilt();
    const report = await inspectToolchain();
    expect(report).toMatchObject({ kind: "built", pulumi: places.pulumi, missing: [] });
    expect(report.toText()).toContain(`built from its Go module: ${places.pulumi}`);
    expect(report.parts.map(({ name }) => name)).toEqual([
      "on PATH",
      "official",
      "built",
      "command plugin",
      "Node",
      "Go",
      "backend",
    ]);
  });
});

test.each([
  ["3.259.0", undefined],
  ["3.259.1", undefined],
  ["3.300.0", undefined],
  ["3.258.9", /older/],
  ["2.999.0", /major/],
  ["4.0.0", /major/],
  ["unknown", /cannot be read/],
])("version %s is compatible or says why not", (version, problem) => {
  const found = incompatibility(version);
  if (problem) expect(found).toMatch(problem);
  else expect(found).toBeUndefined();
});
