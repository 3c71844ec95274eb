// Evidence on disk: one JSON file per drill, `<directory>/<stack>/<time>-<scenario>.json`, in a place that can be
// committed. Written whole or not at all; read with every mistake named. What the fields mean is schema.ts; how drills are
// recorded, records.ts.

import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { UserError } from "../model/errors.ts";
import { FAILURE_CLASS_IDS } from "../model/failure.ts";
import { CAMPAIGN_VERSION, type Campaign, type CampaignHeader, type CampaignStep } from "./campaign.ts";
import { EVIDENCE_VERSION, type Evidence, type Run } from "./schema.ts";

/** Where the evidence of all stacks is kept: HOTPAIR_EVIDENCE, or `evidence` in the project. */
export const evidenceDirectory = (): string =>
  process.env.HOTPAIR_EVIDENCE || join(import.meta.dirname, "../../evidence");

const ms = z.number();
const perVip = z.record(z.string(), ms.min(0));

const client = z.object({
  requests: z.number().int().min(0),
  failed: z.number().int().min(0),
  slow: z.number().int().min(0),
  rtoMs: ms.nullable(),
  rtoFromFaultMs: ms.nullable(),
  samples: z.array(z.tuple([ms, ms, z.union([z.literal(0), z.literal(1)]), z.string()])),
  p50Ms: ms,
  p99Ms: ms,
  failedTwice: z.number().int().optional(),
  reconnects: z.number().int().optional(),
  lateP99Ms: ms.optional(),
  lateMaxMs: ms.optional(),
});

const count = z.number().int().min(0);
const violations = z.object({ count, first: z.array(z.string()) });
const ledgerVerdict = z.object({
  attempts: count,
  acknowledged: count,
  failed: count,
  unknown: count,
  survived: count,
  missing: violations,
  duplicated: violations,
  disordered: violations,
  phantom: violations,
});
const ledger = z.object({ writers: count, primary: ledgerVerdict, replica: ledgerVerdict.optional() });
const node = z.enum(["a", "b"]);
const nodeSpans = z.array(z.object({ node, fromMs: ms, untilMs: ms.nullable() }));
const writers = z.object({
  spans: nodeSpans,
  leases: nodeSpans,
  twoWritersMs: ms.min(0),
  twoLeasesMs: ms.min(0),
  insync: z.array(z.object({ atMs: ms, nodes: z.array(node) })),
  redundantAfterMs: ms.nullable(),
  resolutionMs: ms.min(0),
});

const address = z.object({
  method: z.enum(["secondary-ip", "elastic-ip", "route", "dns"]),
  moves: z.array(
    z.object({ vip: z.string(), node: node.nullable(), atMs: ms.nullable(), tookMs: ms.min(0), attempts: count }),
  ),
});

const run = z.object({
  number: z.number().int().min(1),
  verdict: z.enum(["passed", "failed"]),
  reasons: z.array(z.string()),
  missedTarget: z.boolean().optional(),
  faultAt: ms,
  clients: z.object({
    direct: client.optional(),
    persistent: client.optional(),
    beyondRouter: client.optional(),
  }),
  ownership: z.object({
    spans: z.array(z.object({ vip: z.string(), node, fromMs: ms, untilMs: ms.nullable() })),
    twoOwnersMs: perVip,
    noOwnerMs: perVip,
    clockErrorMs: ms.min(0),
  }),
  address: address.optional(),
  ledger: ledger.optional(),
  writers: writers.optional(),
  log: z.array(z.object({ atMs: ms, node: z.string(), source: z.string(), text: z.string() })),
});

const evidence = z.object({
  version: z.literal(EVIDENCE_VERSION),
  stack: z.string(),
  scenario: z.string(),
  failure: z.enum(FAILURE_CLASS_IDS),
  fault: z.string(),
  expectation: z.string(),
  undo: z.string(),
  startedAt: z.iso.datetime(),
  configDigest: z.string(),
  versions: z.record(z.string(), z.string()),
  place: z.enum(["lab", "servers"]),
  estimate: z.object({
    rtoLowerMs: ms.min(0),
    rtoUpperMs: z.union([ms.min(0), z.literal("unbounded")]),
    rtoTarget: ms.min(0).nullable(),
    formula: z.string(),
  }),
  runs: z.array(run),
  quietMs: ms.optional(),
  reproduce: z.string(),
});

/** Reads the text of one file. Throws UserError naming `file` and every field that is wrong. */
export function parseEvidence(text: string, file: string): Evidence {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${file} is not JSON: ${error instanceof Error ? error.message : error}`, [
      "evidence is written whole; restore the file from where it was committed, or delete it",
    ]);
  }
  const version = typeof value === "object" && value !== null && "version" in value ? value.version : undefined;
  if (version !== EVIDENCE_VERSION)
    throw new UserError(
      `${file}: version is ${JSON.stringify(version) ?? "missing"}; this hotpair reads version ${EVIDENCE_VERSION}`,
      ["drill again, or read it with the hotpair that wrote it"],
    );
  const read = evidence.safeParse(value);
  if (!read.success)
    throw new UserError(
      `${file} is not evidence of a drill`,
      read.error.issues.map((issue) => `${issue.path.join(".") || "(whole file)"}: ${issue.message}`),
    );
  return value as Evidence;
}

/** Path of a drill's file. `startedAt` as in the evidence; colons and fractions are left out for other systems' sake. */
export function evidencePath(directory: string, which: Pick<Evidence, "stack" | "scenario" | "startedAt">): string {
  const time = which.startedAt.replace(/\.\d+/, "").replace(/[-:]/g, "");
  return join(directory, which.stack, `${time}-${which.scenario}.json`);
}

/** Writes a drill's evidence, replacing an earlier state of the same drill, and returns the path. */
export function writeEvidence(directory: string, what: Evidence): string {
  const path = evidencePath(directory, what);
  writeWhole(path, `${render(what)}\n`);
  return path;
}

/** Writes a file so that whoever reads it sees all of it or nothing; makes its directory. */
export function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(4).toString("hex")}.new`;
  try {
    writeFileSync(draft, text, { flush: true });
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Indented JSON with one sample per line: readable, and small in a diff. */
function render(value: unknown, indent = ""): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((member) => typeof member !== "object" || member === null)) return JSON.stringify(value);
    return `[\n${value.map((member) => inner + render(member, inner)).join(",\n")}\n${indent}]`;
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  if (members.length === 0) return "{}";
  return `{\n${members.map(([key, member]) => `${inner}${JSON.stringify(key)}: ${render(member, inner)}`).join(",\n")}\n${indent}}`;
}

/** All evidence of a stack, oldest first; empty when there is none. Throws UserError at the first file that cannot be read. */
export function readStackEvidence(directory: string, stack: string): Evidence[] {
  return readAll(join(directory, stack), /\.json$/, parseEvidence);
}

function readAll<T>(folder: string, pattern: RegExp, parse: (text: string, file: string) => T): T[] {
  return namesIn(folder, pattern).map((name) => parse(readFileSync(join(folder, name), "utf8"), join(folder, name)));
}

/** The names in a folder that match, in their order; none when there is no folder. */
export function namesIn(folder: string, pattern: RegExp): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

const campaignFolder = (directory: string, stack: string): string => join(directory, stack, "campaigns");

export const campaignPath = (directory: string, stack: string, seed: string): string =>
  join(campaignFolder(directory, stack), `${seed}.jsonl`);

const fault = z.object({ fault: z.string(), afterMs: ms.min(0), holdMs: ms.min(0) });
const campaignHeader = z.object({
  version: z.literal(CAMPAIGN_VERSION),
  stack: z.string(),
  seed: z.string(),
  configDigest: z.string(),
  versions: z.record(z.string(), z.string()),
  startedAt: z.iso.datetime(),
  quietMs: ms,
  reproduce: z.string(),
});
const campaignStep = z.object({
  step: count,
  faults: z.array(fault),
  at: z.iso.datetime(),
  tookMs: ms,
  active: node,
  outcome: z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("measured"),
      reasons: z.array(z.string()),
      rtoMs: ms.nullable(),
      twoOwnersMs: ms,
      twoWritersMs: ms.optional(),
      twoLeasesMs: ms.optional(),
      redundantAfterMs: ms.nullable().optional(),
      ledger: ledgerVerdict.optional(),
    }),
    z.object({ kind: z.literal("broken-off"), error: z.string() }),
  ]),
  shrunk: z.object({ faults: z.array(fault), reasons: z.array(z.string()) }).optional(),
  reruns: count.optional(),
});

/**
 * Opens a campaign's journal, beginning it with `header` when there is none, and answers what it holds. Half a line that an
 * interrupted campaign left is cut off. Throws UserError when it was measured on another configuration.
 */
export function openCampaign(path: string, header: CampaignHeader): Campaign {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  if (whole === "") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${JSON.stringify(header)}\n`, { flush: true });
    return { header, steps: [] };
  }
  if (whole !== text) truncateSync(path, Buffer.byteLength(whole));
  const campaign = parseCampaign(whole, path);
  if (campaign.header.configDigest !== header.configDigest)
    throw new UserError("this campaign was begun on another configuration, and its figures would be mixed", [
      `journal: ${path}`,
      `its configuration: ${campaign.header.configDigest}`,
      `this configuration: ${header.configDigest}`,
      "choose another --seed, or move the journal away",
    ]);
  return campaign;
}

/** Keeps all that was seen in a step that broke a promise, beside its campaign's journal; returns where. */
export function keepViolation(journal: string, step: number, run: Run): string {
  const path = journal.replace(/\.jsonl$/, `-step-${step}.json`);
  writeFileSync(path, `${JSON.stringify(run, undefined, 2)}\n`);
  return path;
}

/** Adds a step; it is on disk when this returns. */
export const appendStep = (path: string, step: CampaignStep): void =>
  appendFileSync(path, `${JSON.stringify(step)}\n`, { flush: true });

/** Reads a journal; half a last line is left out. Throws UserError naming `file` and the line that is wrong. */
export function parseCampaign(text: string, file: string): Campaign {
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  const read = <T>(schema: z.ZodType<T>, index: number): T => {
    let value: unknown;
    try {
      value = JSON.parse(lines[index] ?? "");
    } catch {
      value = undefined;
    }
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    throw new UserError(`${file}:${index + 1} is no line of a campaign's journal`, [
      `${issue?.path.join(".") || "the line"}: ${issue?.message ?? "not understood"}`,
      "move the file away; a campaign of the same seed measures everything again",
    ]);
  };
  const header = read(campaignHeader, 0);
  const steps = lines
    .map((line, index) => (index === 0 || line === "" ? undefined : read(campaignStep, index)))
    .filter((step) => step !== undefined);
  return { header, steps: steps as readonly CampaignStep[] };
}

/** All campaigns of a stack, in the order of their seeds; empty when there is none. */
export function readCampaigns(directory: string, stack: string): Campaign[] {
  return readAll(campaignFolder(directory, stack), /\.jsonl$/, parseCampaign);
}
