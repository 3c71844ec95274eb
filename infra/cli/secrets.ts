// Encrypts and decrypts the secrets of a stack file: with the stack's passphrase here, with every other secrets provider
// (a key management service, Pulumi Cloud) through the Pulumi CLI and a copy of the file, so that the CLI, which rewrites
// `0100` and dates as it saves, never touches the file itself. Values go by standard input, never in arguments. Which secrets
// hotpair makes itself stands here as well.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CONFIG_KEY, configPath, parsePath, readStackFile, type StackFile } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import { findToolchain } from "../toolchain/find.ts";
import { openSalt } from "./passphrase.ts";
import { askHidden, isTerminal } from "./questions.ts";
import { announce } from "./terminal.ts";

export interface SecretStore {
  /** Ciphertext to stand under `secure`. */
  encrypt(plain: string): Promise<string>;
  /** Value of the secret at this path of the input, e.g. `nodes[0].ssh.key` or `witness.ssh.key`. */
  decrypt(path: string, ciphertext: string): Promise<string>;
}

interface StackText {
  readonly stack: string;
  /** Absolute path, below the directory of Pulumi.yaml. */
  readonly file: string;
  readonly text: string;
}

/** Throws UserError when the passphrase is missing or wrong, or the CLI cannot reach the provider. */
export async function secretStore(stack: StackText & { readonly stackFile: StackFile }): Promise<SecretStore> {
  const { encryptionSalt, secretsProvider } = stack.stackFile;
  const byPassphrase = encryptionSalt !== undefined && (secretsProvider ?? "passphrase") === "passphrase";
  if (!byPassphrase) return providerStore(stack);
  const crypter = await openSalt(encryptionSalt, await passphrase(stack.stack));
  return {
    encrypt: async (plain) => crypter.encrypt(plain),
    decrypt: async (_, ciphertext) => crypter.decrypt(ciphertext),
  };
}

/** The lab protects nothing: its passphrase is published, so that its stacks work as they are. */
export const LAB_PASSPHRASE = "hotpair-lab";
const LAB_STACKS = ["lab", "lab-stateful"];

/** Sets it for the lab's stacks, unless the environment has one. */
export function usePublishedPassphrase(stack: string): void {
  const given = process.env.PULUMI_CONFIG_PASSPHRASE ?? process.env.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (given !== undefined || !LAB_STACKS.includes(stack)) return;
  announce(`stack ${stack}: using its published passphrase "${LAB_PASSPHRASE}"`);
  process.env.PULUMI_CONFIG_PASSPHRASE = LAB_PASSPHRASE;
}

/** From PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE, as Pulumi reads them, or from the terminal. */
export async function passphrase(stack: string, { repeat = false } = {}): Promise<string> {
  usePublishedPassphrase(stack);
  const given = process.env.PULUMI_CONFIG_PASSPHRASE;
  if (given !== undefined) return given;
  const file = process.env.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (file) {
    try {
      return readFileSync(file, "utf8").trim();
    } catch (error) {
      throw new UserError(`PULUMI_CONFIG_PASSPHRASE_FILE cannot be read: ${(error as Error).message}`);
    }
  }
  if (!isTerminal())
    throw new UserError(`the secrets of stack ${stack} need its passphrase`, [
      "give it in PULUMI_CONFIG_PASSPHRASE, or its file in PULUMI_CONFIG_PASSPHRASE_FILE",
    ]);
  const typed = await askHidden(`Passphrase of stack ${stack}`);
  if (repeat && (await askHidden("The same again")) !== typed) throw new UserError("the two passphrases differ");
  return typed;
}

/** Through the CLI: any provider that it knows, for a stack that its backend has. */
export function providerStore({ stack, file, text }: StackText): SecretStore {
  const withCopy = async (work: (copy: string) => Promise<string>): Promise<string> => {
    const directory = mkdtempSync(join(tmpdir(), "hotpair-"));
    try {
      const copy = join(directory, "Pulumi.yaml");
      writeFileSync(copy, text, { mode: 0o600 });
      return await work(copy);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  const project = dirname(dirname(file));
  return {
    encrypt: (plain) =>
      withCopy(async (copy) => {
        const key = `${CONFIG_KEY}.hotpairNewSecret`;
        await pulumi(
          project,
          ["config", "set", "--stack", stack, "--config-file", copy, "--path", "--secret", key],
          plain,
        );
        const written = readStackFile(readFileSync(copy, "utf8"), copy).pairInput as Record<string, unknown>;
        const secret = written.hotpairNewSecret as { secure?: unknown } | undefined;
        if (typeof secret?.secure !== "string") throw new Error("the Pulumi CLI did not encrypt the value");
        return secret.secure;
      }),
    decrypt: (path) =>
      withCopy((copy) =>
        pulumi(project, [
          "config",
          "get",
          "--stack",
          stack,
          "--config-file",
          copy,
          "--path",
          configPath(parsePath(path)),
        ]),
      ),
  };
}

async function pulumi(cwd: string, args: readonly string[], input = ""): Promise<string> {
  const toolchain = await findToolchain({ onStep: (step) => console.error(step) });
  const child = spawn(toolchain.pulumi, ["--non-interactive", ...args], {
    cwd,
    env: { ...process.env, ...toolchain.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const [output, errors]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0)
    throw new UserError(`pulumi ${args.slice(0, 2).join(" ")} failed for stack ${args[args.indexOf("--stack") + 1]}`, [
      Buffer.concat(errors).toString("utf8").trim(),
    ]);
  return Buffer.concat(output).toString("utf8").replace(/\n$/, "");
}

/** 32 random bytes: the strength of the HMAC-SHA256 that it goes into. */
export const newBeaconKey = (): string => randomBytes(32).toString("hex");

/** What hotpair generates, and where the value before stands while a rotation is under way. */
export const GENERATED = [
  { what: "beacon key", path: ["beaconKey"], previous: ["previousBeaconKey"], make: newBeaconKey },
  {
    what: "replication password",
    path: ["mariadb", "replicationPassword"],
    previous: ["mariadb", "previousReplicationPassword"],
    make: () => randomBytes(16).toString("hex"),
  },
] as const;

/** Of these, what a stack has a use for: `at` says what its input has at a path. */
export const generatedFor = (at: (path: readonly string[]) => unknown) =>
  GENERATED.filter(({ path }) => path.length === 1 || at(path.slice(0, -1)) !== undefined);
