// hotpair's reading of a stack file, held against the Pulumi engine's: the same configuration, the same secrets, in both
// directions, with the real CLI.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { type Crypter, newSalt, openSalt } from "../../infra/cli/passphrase.ts";
import { providerStore } from "../../infra/cli/secrets.ts";
import { readInput, readPair, readStack, readStackFile, secretsOf } from "../../infra/config/index.ts";
import { findToolchain, type Toolchain } from "../../infra/toolchain/find.ts";
import { arbitraryStack } from "./arbitrary.ts";
import { asWritten, type Input, LAB_TEXT, labInput, PROJECT, secretAt, statefulInput, withSecrets } from "./sample.ts";

const PHRASE = "hotpair-lab";
const KEY = secretAt("beaconKey");

let toolchain: Toolchain;
let directory: string;
const stackFile = (stack: string) => join(directory, `stacks/Pulumi.${stack}.yaml`);

async function pulumi(...args: string[]): Promise<string> {
  const options = { cwd: directory, env: { ...process.env, ...toolchain.env }, maxBuffer: 16 * 1024 * 1024 };
  return (await promisify(execFile)(toolchain.pulumi, ["--non-interactive", ...args], options)).stdout;
}

/** The input as the engine would hand it to a program, key by key. */
async function engineReading(stack: string, file: string): Promise<Input> {
  const printed = await pulumi("config", "--json", "--show-secrets", "--stack", stack, "--config-file", file);
  const config = JSON.parse(printed);
  return readInput((key) => config[`hotpair:${key}`] && JSON.parse(config[`hotpair:${key}`].value));
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-engine-"));
  cpSync(join(PROJECT, "Pulumi.yaml"), join(directory, "Pulumi.yaml"));
  mkdirSync(join(directory, "stacks"));
  mkdirSync(join(directory, "state"));
  writeFileSync(stackFile("lab"), LAB_TEXT);
  vi.stubEnv("PULUMI_BACKEND_URL", `file://${join(directory, "state")}`);
  vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", PHRASE);
  toolchain = await findToolchain();
  await pulumi("stack", "init", "lab");
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

describe("the engine and hotpair read a stack file alike", () => {
  test("the lab's, which the engine leaves as it is", async () => {
    expect(readFileSync(stackFile("lab"), "utf8")).toBe(LAB_TEXT);
    const engine = await engineReading("lab", stackFile("lab"));
    const { pair } = readStack(LAB_TEXT, "stacks/Pulumi.lab.yaml", "lab");
    expect(JSON.stringify(readPair(engine, { stack: "lab" }))).toBe(JSON.stringify(pair));
    expect(secretsOf(engine).get("beaconKey")).toMatch(/^[0-9a-f]{64}$/);
  });

  test("one written by hand, with every way to write a value", async () => {
    const text = LAB_TEXT.replace("name: lab", "name: 'lab' # quoted")
      .replace("prefix: 198.18.0.0/24", '"prefix": "198.18.0.0/24"')
      .replace("routerId: 51", "routerId: 0x33")
      .replace(
        "routerId: 0x33",
        "routerId: 51   \n        mode: >-\n          ip\n        preferred: |-\n          node-a",
      )
      .replace("    nginx:\n      port: 8080\n", "    nginx: {port: 8080, healthPath: /healthz, root: /srv/www}\n")
      .replace(
        "hotpair:pair:\n",
        "hotpair:pair:\n    base:\n      persistentJournal: true\n      installPackages: False\n",
      );
    writeFileSync(join(directory, "hand.yaml"), text);
    const engine = await engineReading("lab", join(directory, "hand.yaml"));
    const { pair } = readStack(text, "hand.yaml", "lab");
    expect(JSON.stringify(readPair(engine, { stack: "lab" }))).toBe(JSON.stringify(pair));
    expect(pair).toMatchObject({ vips: [{ preferred: "a", mode: "ip" }], base: { installPackages: false } });
  });

  test("generated ones, as text that a YAML library wrote", async () => {
    const { salt, crypter } = await newSalt(PHRASE);
    const valid = fc
      .sample(arbitraryStack(), { numRuns: 24, seed: 11 })
      .filter(({ broken }) => broken.length === 0)
      .slice(0, 8);
    for (const input of [...valid.map((each) => each.input), statefulInput()]) {
      const text = stringify(
        { config: asWritten(encrypted(input, crypter)), encryptionsalt: salt },
        { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" },
      );
      writeFileSync(join(directory, "any.yaml"), text);
      const engine = await engineReading("lab", join(directory, "any.yaml"));
      const { pair } = readStack(text, "any.yaml", "lab");
      expect(JSON.stringify(readPair(engine, { stack: "lab" }))).toBe(JSON.stringify(pair));
      for (const [path, value] of secretsOf(engine)) expect(value).toBe(secretAt(path));
    }
  });

  test.each(["0100", "0o100", "1_000", "2026-11-20", "0b11", "0x33", ".5", "1e3", "yes", "~"])(
    "%s is refused, or the same to both",
    async (word) => {
      const text = `config:\n  hotpair:pair:\n    name: ${word}\n`;
      const refused = readStackFile(text, "word.yaml").problems.length > 0;
      writeFileSync(join(directory, "word.yaml"), text);
      const mine = (readStackFile(text, "word.yaml").pairInput as Input).name;
      const engine = (await engineReading("lab", join(directory, "word.yaml"))).name;
      if (!refused) expect(mine).toEqual(engine);
    },
  );
});

describe("the engine and hotpair share secrets", () => {
  test("what the engine encrypts, hotpair decrypts; of a new stack, too", async () => {
    await pulumi("stack", "init", "fresh");
    await pulumi("config", "set", "--stack", "fresh", "--path", "--secret", "hotpair:pair.beaconKey", KEY);
    const { encryptionSalt, pairInput } = readStackFile(readFileSync(stackFile("fresh"), "utf8"), "fresh");
    const crypter = await openSalt(encryptionSalt ?? "", PHRASE);
    expect(crypter.decrypt((pairInput as Input).beaconKey.secure)).toBe(KEY);
    await expect(openSalt(encryptionSalt ?? "", "another")).rejects.toThrow("the passphrase is not this stack's");
  });

  test("a stack that hotpair began, the engine takes over as it is", async () => {
    const { salt, crypter } = await newSalt(PHRASE);
    const text = stringify({ config: asWritten(encrypted(labInput(), crypter)), encryptionsalt: salt });
    writeFileSync(stackFile("begun"), text);
    await pulumi("stack", "init", "begun");
    expect(readFileSync(stackFile("begun"), "utf8")).toBe(text);
    expect((await engineReading("begun", stackFile("begun"))).beaconKey).toBe(KEY);
  });

  test("any other secrets provider is reached through the CLI, which never touches the file", async () => {
    const text = `${LAB_TEXT}# since 2026-11-20, mode 0100\n`;
    writeFileSync(stackFile("lab"), text);
    const store = providerStore({ stack: "lab", file: stackFile("lab"), text });
    const ciphertext = await store.encrypt(KEY);
    const crypter = await openSalt(readStackFile(text, "lab").encryptionSalt ?? "", PHRASE);
    expect(crypter.decrypt(ciphertext)).toBe(KEY);
    expect(await store.decrypt("beaconKey", "")).toBe(
      secretsOf(await engineReading("lab", stackFile("lab"))).get("beaconKey"),
    );
    expect(readFileSync(stackFile("lab"), "utf8")).toBe(text);
  });
});

/** The input with its secrets really encrypted. */
const encrypted = (input: Input, crypter: Crypter): Input =>
  withSecrets(input, (path) => ({ secure: crypter.encrypt(secretAt(path)) }));
