// The bundle: one text that carries everything a host must look like, read from standard input by the apply transaction
// (`infra/node/hotpair-apply`). The same plan gives the same bytes: sorted, fixed times. This is the one
// place below `infra/components` where secrets stand in clear, so its result is a secret as a whole.

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { UserError } from "../model/errors.ts";
import type { SecretRef } from "../model/pair.ts";
import type { Content, HostPlan, PlannedFile, PlannedUnit } from "../model/plan.ts";

/** Largest archive in bytes; as text it is a third longer. A stack's state and history keep several copies of it (a 200 KB one makes 1.1 MB of state). */
export const MAX_BUNDLE_BYTES = 384 * 1024;

/**
 * The transaction's own file: a bundle is applied by the version that it carries. On a witness each pair has its own, for
 * pairs of different releases may share one.
 */
export const applyPath = (witnessOf: string | undefined): string =>
  `/usr/lib/hotpair/${witnessOf === undefined ? "" : `pairs/${word(witnessOf)}/`}hotpair-apply`;

const BLOCK = 512;
/** 2020-01-01, any fixed time does; tar warns about 1970. */
const FIXED_TIME = 1_577_836_800;

/** Only what a POSIX shell reads back as one word from a line. */
const WORD = /^[A-Za-z0-9._@:/+=~-]+$/;
const PATH = /^(\/[A-Za-z0-9_@+~-][A-Za-z0-9._@+~-]*)+$/;
const PLACES = ["/etc/", "/usr/lib/hotpair/", "/usr/lib/systemd/", "/var/lib/hotpair/"];
/** Below /var/lib/hotpair, the transaction's own books. */
const BOOKS = /^\/var\/lib\/hotpair\/(manifest|maintenance|originals|packages|pairs|undo|retire)/;

/**
 * Makes the text for the standard input of `applyCommand`: a line `hotpair-bundle 1 SHA256 BYTES` (of the archive), then
 * the archive, a compressed tar, in base64. It does not name its owner: the command that carries it does (`applyCommand`).
 * Throws UserError when it is larger than MAX_BUNDLE_BYTES, Error when the plan cannot be written down safely.
 */
export function makeBundle(plan: HostPlan, secretValue: (ref: SecretRef) => string): string {
  const contents = new Map(plan.files.map((file) => [file.path, text(file.content, secretValue)]));
  if (contents.size !== plan.files.length) throw new Error(`plan of ${plan.name}: a path is planned twice`);
  const program = applyPath(plan.witnessOf);
  if (!contents.has(program)) throw new Error(`plan of ${plan.name} does not carry ${program}`);

  const entries: Entry[] = [{ path: "plan", mode: 0o600, content: describe(plan, contents) }];
  for (const file of plan.files) {
    entries.push({
      path: `files${file.path}`,
      mode: Number.parseInt(file.mode, 8),
      content: contents.get(file.path) ?? "",
    });
  }
  for (const [i, validator] of validatorsOf(plan).entries())
    entries.push({ path: `validators/${i}`, mode: 0o600, content: `${validator.command}\n` });
  for (const [i, check] of plan.health.entries())
    entries.push({ path: `health/${i}`, mode: 0o600, content: `${check.command}\n` });
  for (const [i, { guard }] of plan.units.entries())
    if (guard !== undefined) entries.push({ path: `guards/${i}`, mode: 0o600, content: `${guard}\n` });

  const archive = compressed(tar(entries));
  const digest = createHash("sha256").update(archive).digest("hex");
  const bundle = `hotpair-bundle 1 ${digest} ${archive.length}\n${archive.toString("base64")}\n`;
  if (archive.length > MAX_BUNDLE_BYTES) throw tooLarge(plan, contents, archive.length);
  return bundle;
}

/** Content with its secrets filled in. */
export function text(content: Content, secretValue: (ref: SecretRef) => string): string {
  return typeof content === "string"
    ? content
    : content.map((part) => (typeof part === "string" ? part : secretValue(part))).join("");
}

const validatorsOf = (plan: HostPlan) =>
  plan.validators.filter(({ covers }) =>
    plan.files.some((file) => covers.some((prefix) => file.path.startsWith(prefix))),
  );

/** The plan as lines of words: the shell reads it with `read`, nothing is evaluated. Free text stands last on its line. */
function describe(plan: HostPlan, contents: ReadonlyMap<string, string>): string {
  const lines = [
    "hotpair-plan 1",
    `node ${word(plan.name)}`,
    `install-packages ${plan.installPackages ? "yes" : "no"}`,
    ...plan.packages.map((name) => `package ${word(name)}`),
    ...plan.vips.map((vip) => `vip ${word(vip.name)} ${word(vip.address)} ${word(vip.interface)}`),
    ...[...plan.files].sort((x, y) => (x.path < y.path ? -1 : 1)).map((file) => fileLine(file, contents)),
    ...validatorsOf(plan).map(({ name }, i) => `validator ${i} ${title(name)}`),
    ...plan.units.map((unit) => `unit ${word(unit.name)} ${unit.running ? "running" : "enabled"} ${holds(unit)}`),
    ...plan.units.flatMap(({ name, guard }, i) => (guard === undefined ? [] : [`guard ${i} ${word(name)}`])),
    ...(plan.state ?? []).map((path) => `state ${stateful(path)}`),
    ...plan.health.map(({ name, deadlineSeconds }, i) => `health ${i} ${Math.ceil(deadlineSeconds)} ${title(name)}`),
  ];
  return `${lines.join("\n")}\n`;
}

const holds = (unit: PlannedUnit): string => (unit.holdsRole ? "role" : unit.interrupts ? "networks" : "-");

function fileLine(file: PlannedFile, contents: ReadonlyMap<string, string>): string {
  if (!PATH.test(file.path) || !PLACES.some((place) => file.path.startsWith(place)) || BOOKS.test(file.path))
    throw new Error(`planned file ${file.path} is not at a place that hotpair writes (${PLACES.join(", ")})`);
  if (!/^0[0-7]{3}$/.test(file.mode)) throw new Error(`planned file ${file.path}: mode ${file.mode} is not like 0644`);
  const { action } = file.onChange;
  const unit = file.onChange.action === "none" ? "-" : word(file.onChange.unit);
  const digest = createHash("sha256")
    .update(contents.get(file.path) ?? "")
    .digest("hex");
  const secret = file.secret ? "secret" : "plain";
  return `file ${file.mode} ${word(file.owner)} ${word(file.group)} ${secret} ${action} ${unit} ${digest} ${file.path}`;
}

/** Removed as a whole with the server's other files: never the books, and nothing that is not hotpair's. */
function stateful(path: string): string {
  if (!PATH.test(path) || !path.startsWith("/var/lib/hotpair/") || BOOKS.test(path))
    throw new Error(`planned state ${path} is not below /var/lib/hotpair`);
  return path;
}

function word(value: string): string {
  if (!WORD.test(value)) throw new Error(`"${value}" is not one plain word`);
  return value;
}

function title(value: string): string {
  if (!/^[\x20-\x7e]+$/.test(value)) throw new Error(`"${value}" is not one line of printable ASCII`);
  return value;
}

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

/**
 * RFC 1952. The project's own Node compresses always the same way; another zlib would make other bytes of the same files,
 * which the server finds unchanged. GNU tar sees by itself what it reads.
 */
function compressed(archive: Buffer): Buffer {
  const bytes = gzipSync(archive, { level: 9 });
  // The system that compressed it: "unknown", on every one.
  bytes[9] = 0xff;
  return bytes;
}

/** A POSIX ustar archive (IEEE Std 1003.1, pax, "ustar Interchange Format") of regular files in order of their paths. */
function tar(entries: readonly Entry[]): Buffer {
  const blocks = [...entries]
    .sort((x, y) => (x.path < y.path ? -1 : 1))
    .flatMap(({ path, mode, content }) => {
      const data = Buffer.from(content);
      return [header(path, mode, data.length), data, Buffer.alloc(-data.length & (BLOCK - 1))];
    });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header(path: string, mode: number, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, width: number) =>
    block.write(`${value.toString(8).padStart(width - 1, "0")}\0`, offset);
  const [prefix, name] = splitName(path);
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8); // uid
  octal(0, 116, 8); // gid
  octal(size, 124, 12);
  octal(FIXED_TIME, 136, 12);
  block.write("        ", 148); // the checksum counts itself as blanks
  block.write("0", 156); // regular file
  block.write("ustar\0" + "00", 257);
  block.write("root", 265);
  block.write("root", 297);
  block.write(prefix, 345);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

/** ustar keeps 100 bytes of name and 155 of directory before it, parted at a slash. */
function splitName(path: string): readonly [string, string] {
  if (path.length <= 100) return ["", path];
  for (let i = path.indexOf("/"); i !== -1 && i <= 155; i = path.indexOf("/", i + 1))
    if (path.length - i - 1 <= 100) return [path.slice(0, i), path.slice(i + 1)];
  throw new Error(`planned file ${path}: the path is too long for a tar header`);
}

function tooLarge(plan: HostPlan, contents: ReadonlyMap<string, string>, size: number): UserError {
  const kb = (bytes: number) => `${Math.ceil(bytes / 1024)} KB`;
  const biggest = [...contents].sort(([, x], [, y]) => y.length - x.length).slice(0, 5);
  return new UserError(
    `The files for ${plan.name} make a bundle of ${kb(size)}; at most ${kb(MAX_BUNDLE_BYTES)} fit into one resource.`,
    biggest.map(([path, content]) => `${path}: ${kb(Buffer.byteLength(content))}`),
  );
}
