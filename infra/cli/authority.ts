// `hotpair authority`: the certificates of a pair's three etcd members, made and exchanged in the stack file, and the
// members themselves: how they are, made smaller, taken in again. Thin: certificates are in certificates.ts, and what may
// be done to a member when is decided on the servers, by hotpair-etcd.

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { removeValue, setValue } from "../config/edit.ts";
import { readPair, readStackFile, withPlaceholders } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import { type Authority, type HostId, NODE_IDS, type Pair } from "../model/pair.ts";
import { changesOf } from "../plan/changes.ts";
import { hostIdsOf, planHosts } from "../plan/plan.ts";
import { clientUrl, hostName, MEMBER_IDS, memberAddress, peerUrl, programOf } from "../services/etcd.ts";
import { disconnectAll, run, SshError } from "../ssh/run.ts";
import type { CertificateAuthority, MemberCertificate } from "./certificates.ts";
import { secretStore } from "./secrets.ts";
import {
  hostNamed,
  keyPathsOf,
  nameOf,
  openSecrets,
  surveyPair,
  type Targets,
  targetOf,
  targetsOf,
} from "./servers.ts";
import { type LoadedStack, loadStack, type Named, readStackText, shownPath, stackOption } from "./stack.ts";
import { announce, confirm, paint } from "./terminal.ts";

/** Loaded when it is needed: every other command starts without it. */
const certificates = () => import("./certificates.ts");

/** Longest answer of a server: health of three members, one of which is off. */
const ASK_DEADLINE_MS = 15_000;
/** etcd takes a new member once those that it has were connected for 5 s (its HealthInterval), and promotes it when it has caught up. */
const MEMBERSHIP_DEADLINE_MS = 60_000;

export function register(program: Command): void {
  const authority = program
    .command("authority")
    .description(
      "the three etcd members, on both nodes and the witness, by which a pair with data decides who may write",
    );
  authority
    .command("init")
    .description("make the pair's certificate authority and three member certificates, into the stack file")
    .addOption(stackOption())
    .action(init);
  authority
    .command("issue")
    .description("a new certificate for one member, e.g. for the address of a new server")
    .argument("<server>", "its name")
    .addOption(stackOption())
    .action(issue);
  authority
    .command("rotate")
    .description(
      "exchange the certificate authority in three steps, each followed by hotpair up: trust both, switch, drop",
    )
    .addOption(stackOption())
    .action(rotate);
  authority
    .command("status")
    .description("how the members are; exit code 1 unless all three are healthy")
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(status);
  authority
    .command("defragment")
    .description("give unused space in the members' databases back, one after the other, the leader last")
    .addOption(stackOption())
    .action(defragment);
  authority
    .command("restore")
    .description("take a member in again that lost its data, was replaced, or belongs to an epoch that is over")
    .argument("<server>", "its name")
    .addOption(stackOption())
    .option("--yes", "do not ask", false)
    .action(restore);
}

// --- certificates ----------------------------------------------------------------------------------------------------

const place = {
  authority: ["authority", "caCertificate"],
  authorityKey: ["authority", "caKey"],
  previous: ["authority", "previousCaCertificate"],
  certificate: (id: HostId) => ["authority", "members", id, "certificate"],
  key: (id: HostId) => ["authority", "members", id, "key"],
} as const;

async function init(options: Named): Promise<void> {
  const found = readStackText(options.stack);
  const { stack, file, text } = found;
  const stackFile = readStackFile(text, shownPath(file));
  if (stackFile.problems.length > 0) throw new UserError(`${shownPath(file)} has mistakes`, stackFile.problems);
  const input = stackFile.pairInput as {
    readonly name?: unknown;
    readonly authority?: { readonly caCertificate?: unknown };
    readonly nodes?: readonly { readonly networks?: { readonly public?: { readonly address?: unknown } } }[];
    readonly witness?: { readonly address?: unknown };
  };
  if (input.authority?.caCertificate !== undefined)
    throw new UserError(`${shownPath(file)} has an authority already`, [
      `exchange it with: hotpair authority rotate -s ${stack}`,
    ]);
  const addresses: Readonly<Record<HostId, unknown>> = {
    a: input.nodes?.[0]?.networks?.public?.address,
    b: input.nodes?.[1]?.networks?.public?.address,
    witness: input.witness?.address,
  };
  const name = typeof input.name === "string" ? input.name : stack;
  const { newAuthority, newMember } = await certificates();
  const made = await newAuthority(name, Date.now());
  const store = await secretStore({ ...found, stackFile });
  let edited = setValue(text, place.authority, made.certificate);
  edited = setValue(edited, place.authorityKey, { secure: await store.encrypt(made.key) });
  for (const id of MEMBER_IDS) {
    const address = /^(\d+\.\d+\.\d+\.\d+)(\/\d+)?$/.exec(String(addresses[id]))?.[1];
    if (address === undefined)
      throw new UserError(
        `${shownPath(file)} does not say where the member of ${id === "witness" ? "the witness" : `node ${id}`} is`,
        [
          id === "witness"
            ? "describe the third host first: hotpair:witness with name, address and ssh"
            : `write hotpair:pair.nodes[${NODE_IDS.indexOf(id)}].networks.public.address`,
        ],
      );
    const member = await newMember(made, name, id, address, Date.now());
    edited = setValue(edited, place.certificate(id), member.certificate);
    edited = setValue(edited, place.key(id), { secure: await store.encrypt(member.key) });
  }
  // Everything else in the file is judged as well, before it is written; only the servers know their host keys.
  const written = readStackFile(edited, shownPath(file));
  readPair(withPlaceholders(written.pairInput), { stack, locate: written.locate });
  writeFileSync(file, edited);
  console.log(`${shownPath(file)} has the pair's own certificate authority and three member certificates`);
  console.log(`next: hotpair check -s ${stack}, then hotpair up -s ${stack}`);
}

function authorityOf({ pair, stack }: LoadedStack): Authority {
  if (pair.authority !== undefined) return pair.authority;
  throw new UserError(`the pair ${pair.name} has no authority`, [
    `describe a witness in the stack file, then: hotpair authority init -s ${stack}`,
  ]);
}

async function issue(word: string, options: Named): Promise<void> {
  const stack = loadStack(options.stack);
  const { caCertificate, caKey } = authorityOf(stack);
  const id = hostNamed(stack.pair, word);
  const key = (await openSecrets(stack, [caKey.secret]))(caKey);
  await writeMembers(stack, { certificate: caCertificate, key }, [id]);
  console.log(
    `${shownPath(stack.file)} has a new certificate for ${nameOf(stack.pair, id)}, ${memberAddress(stack.pair, id)}`,
  );
  console.log(`next: hotpair up -s ${stack.stack}`);
}

async function writeMembers(
  stack: LoadedStack,
  authority: CertificateAuthority,
  ids: readonly HostId[],
): Promise<void> {
  const { newMember } = await certificates();
  const store = await secretStore(stack);
  let text = stack.text;
  for (const id of ids) {
    const made: MemberCertificate = await newMember(
      authority,
      stack.pair.name,
      id,
      memberAddress(stack.pair, id),
      Date.now(),
    );
    text = setValue(text, place.certificate(id), made.certificate);
    text = setValue(text, place.key(id), { secure: await store.encrypt(made.key) });
  }
  writeFileSync(stack.file, text);
}

async function rotate(options: Named): Promise<void> {
  const stack = loadStack(options.stack);
  const authority = authorityOf(stack);
  await refuseUndeployed(stack);
  const { caCertificate, caKey, previousCaCertificate: previous, members } = authority;
  const again = `next: hotpair up -s ${stack.stack}, then hotpair authority rotate -s ${stack.stack}`;
  if (previous === undefined) {
    const made = await (await certificates()).newAuthority(stack.pair.name, Date.now());
    const store = await secretStore(stack);
    const kept = setValue(stack.text, place.previous, caCertificate);
    const named = setValue(kept, place.authority, made.certificate);
    writeFileSync(stack.file, setValue(named, place.authorityKey, { secure: await store.encrypt(made.key) }));
    console.log(
      `1 of 3: ${shownPath(stack.file)} has a new authority beside the old one; every member is to trust both`,
    );
    console.log(again);
    return;
  }
  const { isSignedBy } = await certificates();
  const old: HostId[] = [];
  for (const id of MEMBER_IDS) if (!(await isSignedBy(members[id].certificate, caCertificate))) old.push(id);
  if (old.length > 0) {
    const key = (await openSecrets(stack, [caKey.secret]))(caKey);
    await writeMembers(stack, { certificate: caCertificate, key }, old);
    console.log(`2 of 3: ${shownPath(stack.file)} has certificates of the new authority for every member`);
    console.log(again);
    return;
  }
  writeFileSync(stack.file, removeValue(stack.text, place.previous));
  console.log(`3 of 3: ${shownPath(stack.file)} has the new authority alone`);
  console.log(`next: hotpair up -s ${stack.stack} makes the members forget the old one`);
}

/** A step may begin only when the one before it is on every server: a member that is ahead would not be heard by the others. */
async function refuseUndeployed(stack: LoadedStack): Promise<void> {
  const keys = hostIdsOf(stack.pair).map((id) => `authority.members.${id}.key`);
  const secrets = await openSecrets(stack, [...keys, ...keyPathsOf(stack.pair)]);
  const plans = planHosts(stack.pair).map((plan) => ({
    ...plan,
    packages: [],
    files: plan.files.filter(({ path }) => /\/authority\/.*\/(ca\.pem|member\.(pem|key))$/.test(path)),
  }));
  try {
    const answers = await surveyPair(targetsOf(stack.pair, secrets), plans);
    const behind = plans.flatMap((plan): readonly string[] => {
      const answer = answers.get(plan.node);
      if (answer === undefined || !("state" in answer))
        return [`${plan.name} cannot be asked: ${answer?.silent.message}`];
      if (answer.state.manifest.resource === null) return [`${plan.name} is not set up yet`];
      const found = changesOf(plan, answer.state, secrets).files.filter(({ kind }) => kind !== "remove");
      return found.length > 0 ? [`${plan.name} does not have the certificates of the stack file yet`] : [];
    });
    if (behind.length > 0)
      throw new UserError("the next step must wait for every member; nothing was changed", [
        ...behind,
        `bring them to what the stack file says: hotpair up -s ${stack.stack}`,
      ]);
  } finally {
    disconnectAll();
  }
}

// --- members ---------------------------------------------------------------------------------------------------------

interface Reached {
  readonly stack: LoadedStack;
  readonly pair: Pair;
  readonly authority: Authority;
  readonly targets: Targets;
}

async function reach(name: string | undefined): Promise<Reached> {
  const stack = loadStack(name);
  const { pair } = stack;
  const authority = authorityOf(stack);
  return { stack, pair, authority, targets: targetsOf(pair, await openSecrets(stack, keyPathsOf(pair))) };
}

/** What one host says of the members. */
interface HostView {
  readonly id: HostId;
  /** Why it could not be asked. */
  readonly silent: string | undefined;
  readonly healthy: ReadonlySet<HostId>;
  readonly epoch: number;
  /** `running`, or why etcd does not run there. */
  readonly here: string;
}

async function on(reached: Reached, id: HostId, words: string, timeoutMs = ASK_DEADLINE_MS) {
  const program = `${programOf(reached.pair, id)} ${reached.pair.name}`;
  return run(targetOf(reached.targets, id), words.replace(/hotpair-etcd/, program), { timeoutMs, becomeRoot: true });
}

async function look(reached: Reached, id: HostId): Promise<HostView> {
  const nothing = { id, healthy: new Set<HostId>(), epoch: 0, here: "" };
  try {
    const { code, stdout, stderr } = await on(reached, id, "hotpair-etcd status");
    if (code !== 0) return { ...nothing, silent: (stderr || stdout).trim().split("\n").at(-1) ?? "no answer" };
    return {
      id,
      silent: undefined,
      healthy: new Set(MEMBER_IDS.filter((member) => new RegExp(`^${member} healthy `, "m").test(stdout))),
      epoch: Number(/^epoch (\d+)$/m.exec(stdout)?.[1] ?? 1),
      here: /^here (?:restore |wait )?(.*)$/m.exec(stdout)?.[1] ?? "",
    };
  } catch (error) {
    if (error instanceof SshError) return { ...nothing, silent: error.message };
    throw error;
  }
}

const lookAll = (reached: Reached): Promise<readonly HostView[]> =>
  Promise.all(MEMBER_IDS.map((id) => look(reached, id)));

/** Members that a majority's own word says are healthy: a host that is cut off speaks for itself alone. */
const isHealthy = (views: readonly HostView[], id: HostId): boolean =>
  views.some((view) => view.id !== id && view.healthy.has(id)) ||
  views.some(
    (view) => view.id === id && view.healthy.has(id) && views.every((other) => other.id === id || other.silent),
  );

interface EndpointStatus {
  readonly member: HostId;
  readonly memberId: string;
  readonly leader: boolean;
  readonly learner: boolean;
  /** Bytes of the database file, and what of it is in use. */
  readonly size: number;
  readonly used: number;
}

/** What the members tell of themselves, asked through `from`. Ids are 64 bits: read as text, not as a JSON number. */
async function endpoints(
  reached: Reached,
  from: HostId,
  members: readonly HostId[],
): Promise<readonly EndpointStatus[]> {
  const urls = members.map((id) => clientUrl(reached.pair, reached.authority, id));
  const said = await on(reached, from, `HOTPAIR_ENDPOINTS=${urls.join(",")} hotpair-etcd ctl endpoint status -w json`);
  const entries = JSON.parse(quotedIds(said.stdout || "[]")) as readonly {
    readonly Endpoint: string;
    readonly Status: {
      readonly header: { readonly member_id: string };
      readonly leader?: string;
      readonly dbSize?: number;
      readonly dbSizeInUse?: number;
      readonly isLearner?: boolean;
    };
  }[];
  return entries.flatMap(({ Endpoint, Status }) => {
    const member = members.find((id) => clientUrl(reached.pair, reached.authority, id) === Endpoint);
    if (member === undefined) return [];
    const { header, leader, dbSize = 0, dbSizeInUse = 0, isLearner = false } = Status;
    return [
      {
        ...{ member, memberId: header.member_id, leader: leader === header.member_id, learner: isLearner },
        ...{ size: dbSize, used: dbSizeInUse },
      },
    ];
  });
}

const quotedIds = (json: string): string => json.replaceAll(/"((?:\w*_)?(?:id|ID)|leader)":\s*(\d+)/g, '"$1":"$2"');

async function status(options: Named & { json: boolean }): Promise<void> {
  const reached = await reach(options.stack);
  const { pair, authority, stack } = reached;
  try {
    const views = await lookAll(reached);
    const healthy = MEMBER_IDS.filter((id) => isHealthy(views, id));
    const from = views.find(({ id, silent }) => silent === undefined && healthy.includes(id));
    const facts = from === undefined ? [] : await endpoints(reached, from.id, healthy);
    const epoch = Math.max(...views.map((view) => view.epoch), 1);
    const { describeCertificate } = await certificates();
    const rows = views.map(({ id, silent, epoch: own, here }) => {
      const found = facts.find(({ member }) => member === id);
      const { notAfter } = describeCertificate(authority.members[id].certificate);
      return {
        ...{ member: id, name: hostName(pair, id), healthy: healthy.includes(id), leader: found?.leader ?? false },
        ...{ learner: found?.learner ?? false, size: found?.size ?? null, quota: authority.etcd.quota },
        ...{ epoch: silent === undefined ? own : null, here: silent ?? here, certificateUntil: notAfter.toISOString() },
      };
    });
    const lost = rows.filter((row) => /lost its data|do not have this one|in epoch/.test(row.here));
    const asked = views.some(({ silent }) => silent === undefined);
    const missing = asked ? ", NO MAJORITY: nobody new may write" : "; none of the three servers can be asked";
    if (options.json) console.log(JSON.stringify({ pair: pair.name, epoch, members: rows }, undefined, 2));
    else {
      console.log(
        `authority of ${paint("bold", pair.name)}: ${healthy.length} of 3 members healthy, epoch ${epoch}${
          from === undefined ? paint("red", missing) : ""
        }`,
      );
      for (const row of rows) {
        const state = row.healthy ? paint("green", "healthy") : paint("red", "NOT HEALTHY");
        const what = [
          row.leader ? "leader" : row.learner ? "learner" : "",
          row.size === null ? "" : `database ${(row.size / 1024 ** 2).toFixed(1)} of ${row.quota / 1024 ** 2} MiB`,
          `certificate until ${row.certificateUntil.slice(0, 10)}`,
          row.healthy ? "" : row.here,
        ];
        console.log(`  ${row.name} (${row.member}): ${state}, ${what.filter((word) => word !== "").join(", ")}`);
      }
      for (const { name } of lost)
        console.log(`to take it in again: hotpair authority restore ${name} -s ${stack.stack}`);
    }
    if (healthy.length < 3) process.exitCode = 1;
  } finally {
    disconnectAll();
  }
}

/** Throws UserError unless every member is healthy: what interrupts one of them would else cost the majority. */
async function requireAllHealthy(reached: Reached): Promise<readonly HostView[]> {
  const views = await lookAll(reached);
  const bad = MEMBER_IDS.filter((id) => !isHealthy(views, id));
  if (bad.length === 0) return views;
  throw new UserError(
    `a member may be interrupted only while all three are healthy; nothing was changed`,
    bad.map((id) => `${hostName(reached.pair, id)} is not: hotpair authority status -s ${reached.stack.stack}`),
  );
}

async function defragment(options: Named): Promise<void> {
  const reached = await reach(options.stack);
  const { pair, authority } = reached;
  try {
    await requireAllHealthy(reached);
    const [first] = MEMBER_IDS;
    const before = await endpoints(reached, first, MEMBER_IDS);
    const order = before.toSorted((one, other) => Number(one.leader) - Number(other.leader));
    for (const { member, leader, size } of order) {
      await requireAllHealthy(reached);
      const [follower] = order;
      const url = clientUrl(pair, authority, member);
      if (leader && follower !== undefined) {
        const moved = await on(
          reached,
          member,
          `HOTPAIR_ENDPOINTS=${url} hotpair-etcd ctl move-leader ${hexOf(follower.memberId)}`,
        );
        if (moved.code !== 0) throw refused(pair, member, moved);
      }
      const done = await on(reached, member, `HOTPAIR_ENDPOINTS=${url} hotpair-etcd ctl --command-timeout=10s defrag`);
      if (done.code !== 0) throw refused(pair, member, done);
      const after = (await endpoints(reached, member, [member]))[0]?.size ?? size;
      console.log(`${hostName(pair, member)}: ${mebibytes(size)} before, ${mebibytes(after)} after`);
    }
  } finally {
    disconnectAll();
  }
}

const mebibytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
/** etcdctl takes ids in hexadecimal. */
const hexOf = (id: string): string => BigInt(id).toString(16);

const refused = (pair: Pair, id: HostId, { stdout, stderr }: { stdout: string; stderr: string }): UserError =>
  new UserError(`${hostName(pair, id)} refuses`, [`${stdout}${stderr}`.trim().split("\n").at(-1) ?? ""]);

async function restore(word: string, options: Named & { yes: boolean }): Promise<void> {
  const reached = await reach(options.stack);
  const { pair, authority, stack } = reached;
  const lost = hostNamed(pair, word);
  const name = hostName(pair, lost);
  try {
    const views = await lookAll(reached);
    if (isHealthy(views, lost))
      throw new UserError(`the member on ${name} is healthy: there is nothing to restore`, [
        `hotpair authority status -s ${stack.stack}`,
      ]);
    const target = views.find(({ id }) => id === lost);
    if (target?.silent !== undefined)
      throw new UserError(`${name} cannot be asked`, [
        target.silent,
        `a new server in its place: hotpair replace ${name} -s ${stack.stack}, then this again`,
      ]);
    const from = views.find(({ id, silent }) => id !== lost && silent === undefined && isHealthy(views, id));
    if (from === undefined)
      throw new UserError("no other member is healthy: there is no majority that could take one in", [
        `hotpair authority status -s ${stack.stack}`,
      ]);
    const helpers = MEMBER_IDS.filter((id) => id !== lost && from.healthy.has(id));
    const urls = helpers.map((id) => clientUrl(pair, authority, id)).join(",");
    const ctl = (words: string) => on(reached, from.id, `HOTPAIR_ENDPOINTS=${urls} hotpair-etcd ctl ${words}`, 30_000);
    const question = `Remove what the member on ${name} knows, and let it learn everything from ${helpers
      .map((id) => hostName(pair, id))
      .join(" and ")}?`;
    if (!(await confirm(question, options.yes))) {
      announce("nothing was changed");
      process.exitCode = 1;
      return;
    }
    // Away with what the others still count as this member: by its name, or by its address when it never started.
    const listed = await ctl("member list");
    if (listed.code !== 0) throw refused(pair, from.id, listed);
    const url = peerUrl(pair, authority, lost);
    for (const line of listed.stdout.split("\n")) {
      const [id, , member, peer] = line.split(", ");
      if (member !== lost && peer !== url) continue;
      await patiently(() => ctl(`member remove ${id}`), pair, from.id);
      announce(`${name}: no longer a member as it was (${id})`);
    }
    // A learner does not count for the majority until it has caught up.
    const added = await patiently(() => ctl(`member add ${lost} --learner --peer-urls=${url}`), pair, from.id);
    const id = /Member\s+([0-9a-f]+) added/.exec(added.stdout)?.[1] ?? "";
    const joined = await on(reached, lost, `hotpair-etcd rejoin ${from.epoch}`, 30_000);
    if (joined.code !== 0) throw refused(pair, lost, joined);
    announce(`${name}: learning`);
    await patiently(() => ctl(`member promote ${id}`), pair, from.id);
    console.log(`${name} is a member again, in epoch ${from.epoch}`);
  } finally {
    disconnectAll();
  }
}

/** Again until it succeeds: etcd refuses a change of members for some seconds after the one before. */
async function patiently(
  work: () => ReturnType<typeof on>,
  pair: Pair,
  id: HostId,
): Promise<Awaited<ReturnType<typeof on>>> {
  const deadline = Date.now() + MEMBERSHIP_DEADLINE_MS;
  for (;;) {
    const said = await work();
    if (said.code === 0) return said;
    if (Date.now() > deadline) throw refused(pair, id, said);
    await sleep(1_000);
  }
}
