// `hotpair cloud`: what a stack in AWS needs before its servers are made. Making them is `hotpair up`, which fetches
// the package of the classes by itself as well.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { setValue } from "../config/edit.ts";
import { readPair, readStackFile, valueAt, withPlaceholders } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import { NODE_IDS } from "../model/pair.ts";
import { AWS_PLUGIN_VERSION } from "../model/resource.ts";
import { keyPairOf } from "../ssh/keypair.ts";
import { awsPackage, installAwsPackage } from "../toolchain/aws-package.ts";
import { newSalt } from "./passphrase.ts";
import { generatedFor, passphrase, type SecretStore, secretStore } from "./secrets.ts";
import { type Named, readStackText, shownPath, stackOption } from "./stack.ts";
import { announce } from "./terminal.ts";

export function register(program: Command): void {
  const cloud = program.command("cloud").description("what a stack in AWS needs before its servers are made");
  cloud
    .command("keys")
    .description("make the servers' SSH host keys, and what else hotpair generates, where the stack file lacks them")
    .addOption(stackOption())
    .action(keys);
  cloud
    .command("install")
    .description("fetch the npm package @pulumi/aws into hotpair's cache, as the first preview or up would")
    .action(async () => {
      await installAwsPackage(announce);
      console.log(`@pulumi/aws ${AWS_PLUGIN_VERSION}: ${awsPackage()}`);
    });
}

/** Where the stack file has the host key that a server starts with, and where the one that is expected of it. */
const places = (makesWitness: boolean) => [
  ...NODE_IDS.map((id, index) => ({
    host: `node ${id}`,
    encrypted: ["aws", "hostKeys", id],
    pinned: ["nodes", index, "ssh", "hostKey"],
  })),
  ...(makesWitness
    ? [{ host: "the witness", encrypted: ["aws", "witness", "hostKey"], pinned: ["witness", "ssh", "hostKey"] }]
    : []),
];

/** What is there stays: a server that runs would not be recognized under a new key. */
async function keys(options: Named): Promise<void> {
  const found = readStackText(options.stack);
  const { stack, file } = found;
  const shown = shownPath(file);
  const stackFile = readStackFile(found.text, shown);
  if (stackFile.problems.length > 0) throw new UserError(`${shown} has mistakes`, stackFile.problems);
  const at = (...path: readonly PropertyKey[]): unknown => valueAt(stackFile.pairInput, path);
  if (at("aws") === undefined)
    throw new UserError(`stack ${stack} makes no servers: ${shown} has no hotpair:aws`, [
      `host keys of servers that exist are fetched: hotpair scan -s ${stack}`,
    ]);
  const { store, text: salted } = await storeOf({ ...found, stackFile });
  let text = salted;
  const made: string[] = [];
  for (const { host, encrypted, pinned } of places(at("aws", "witness") !== undefined)) {
    if (at(...encrypted) !== undefined && at(...pinned) !== undefined) continue;
    const { publicKey, privateKey } = keyPairOf(randomBytes(32), `hotpair ${stack} ${host}`);
    text = setValue(text, encrypted, { secure: await store.encrypt(privateKey) });
    text = setValue(text, pinned, publicKey);
    made.push(`host key of ${host}`);
  }
  for (const { what, path, make } of generatedFor((path) => at(...path))) {
    if (at(...path) !== undefined) continue;
    text = setValue(text, path, { secure: await store.encrypt(make()) });
    made.push(what);
  }
  // Everything else in the file is judged as well, before it is written.
  const written = readStackFile(text, shown);
  readPair(withPlaceholders(written.pairInput), { stack, locate: written.locate });
  if (made.length > 0) writeFileSync(file, text);
  console.log(made.length === 0 ? `${shown} has all its keys` : `${shown} has a new ${made.join(", a new ")}`);
  const certified = at("witness") === undefined || at("authority") !== undefined;
  console.log(`next: ${certified ? "" : `hotpair authority init -s ${stack}, then `}hotpair check -s ${stack}`);
}

/** A file that was copied without its salt gets one of its own. */
async function storeOf(
  stack: Parameters<typeof secretStore>[0],
): Promise<{ readonly store: SecretStore; readonly text: string }> {
  const { encryptionSalt, secretsProvider } = stack.stackFile;
  if (encryptionSalt !== undefined || secretsProvider !== undefined)
    return { store: await secretStore(stack), text: stack.text };
  const { salt, crypter } = await newSalt(await passphrase(stack.stack, { repeat: true }));
  return {
    store: { encrypt: async (plain) => crypter.encrypt(plain), decrypt: async (_, secret) => crypter.decrypt(secret) },
    text: `${stack.text.trimEnd()}\nencryptionsalt: ${salt}\n`,
  };
}
