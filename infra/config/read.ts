// From what somebody wrote to the Pair that everything below reads: check every field and how they fit, fill in what is
// derived from several of them, replace secrets by references. All mistakes are reported together.

import { type Duration, ms, parseDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import type { Attachment, Backend, Frontend, NetworkName, Node, NodeId, Pair, Ssh, Vip } from "../model/pair.ts";
import { NODE_IDS } from "../model/pair.ts";
import { isHostKey } from "./formats.ts";
import { formatProblem, type Locate, type Problem } from "./problem.ts";
import { problemsOf } from "./rules.ts";
import { engineSchema, fileSchema, type PairSettings } from "./schema.ts";
import { readStackFile, type StackFile } from "./stackfile.ts";

export interface ReadOptions {
  /** Name of the stack; the pair's name unless it has one of its own. */
  readonly stack: string;
  /** Given for what was read from a stack file, where secrets are `{secure: …}`; without it, they are decrypted texts. */
  readonly locate?: Locate;
}

/** Throws UserError with all mistakes. The same Pair comes from a stack file and from the engine. */
export function readPair(input: unknown, options: ReadOptions): Pair {
  const checked = checkPair(input, options);
  if (checked.pair === undefined) throw wrongConfiguration(options.stack, checked.problems);
  return checked.pair;
}

/** Throws UserError with all mistakes, those of the file itself first. */
export function readStack(
  text: string,
  file: string,
  stack: string,
): { readonly pair: Pair; readonly stackFile: StackFile } {
  const stackFile = readStackFile(text, file);
  const checked =
    stackFile.pairInput === undefined
      ? { pair: undefined, problems: [] }
      : checkPair(stackFile.pairInput, { stack, locate: stackFile.locate });
  if (checked.pair === undefined || stackFile.problems.length > 0)
    throw wrongConfiguration(stack, [...stackFile.problems, ...checked.problems]);
  return { pair: checked.pair, stackFile };
}

const wrongConfiguration = (stack: string, problems: readonly string[]): UserError =>
  new UserError(
    `the configuration of stack ${stack} has ${problems.length === 1 ? "a mistake" : `${problems.length} mistakes`}`,
    problems,
  );

function checkPair(
  input: unknown,
  { stack, locate }: ReadOptions,
): { pair: Pair | undefined; problems: readonly string[] } {
  const result = (locate === undefined ? engineSchema : fileSchema).safeParse(input);
  const problems: Problem[] = (result.error?.issues ?? []).flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.message
          .split("\n")
          .map((message, index) => ({ path: [...issue.path, issue.keys[index] ?? ""], message, at: "key" as const }))
      : { path: issue.path, message: issue.message },
  );
  problems.push(...problemsOf(input));
  const name = result.data?.name ?? stack;
  if (result.data !== undefined && !/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name))
    problems.push({
      path: ["name"],
      message: `is missing, and the stack's name "${name}" cannot stand in for it; expected at most 32 lower-case letters, digits and inner hyphens, e.g. shop`,
    });

  if (result.data !== undefined && problems.length === 0) return { pair: pairOf(result.data, name), problems: [] };
  const line = ({ path }: Problem) => locate?.(path)?.line ?? 0;
  const texts = problems.toSorted((one, other) => line(one) - line(other)).map((each) => formatProblem(each, locate));
  return { pair: undefined, problems: [...new Set(texts)] };
}

function pairOf(settings: PairSettings, name: string): Pair {
  const advert = time(settings.vrrp.advertInterval);
  const nodes = settings.nodes.map((node, index) => nodeOf(node, index)) as [Node, Node];
  const { networks, arbiter, haproxy, nginx, external, vrrp } = settings;
  return {
    name,
    target: settings.target,
    networks: {
      public: { prefix: networks.public.prefix, gateway: networks.public.gateway },
      heartbeat: { prefix: networks.heartbeat.prefix, gateway: undefined },
      ...(networks.storage === undefined ? {} : { storage: { prefix: networks.storage.prefix, gateway: undefined } }),
    },
    nodes,
    vips: settings.vips.map(
      (vip): Vip => ({ ...vip, preferred: nodes.find((node) => node.name === vip.preferred)?.id }),
    ),
    vrrp: {
      advertInterval: advert,
      priority: vrrp.priority,
      garp: { repeat: vrrp.garp.repeat, delay: time(vrrp.garp.delay), refresh: time(vrrp.garp.refresh) },
      notify: vrrp.notify,
      email: vrrp.email,
    },
    arbiter: {
      beaconInterval: timeOr(arbiter.beaconInterval, Math.min(20, advert / 5)),
      silence: timeOr(arbiter.silence, 1.5 * advert),
      evidence: timeOr(arbiter.evidence, Math.max(200, 2 * advert)),
      hold: time(arbiter.hold),
      port: arbiter.port,
      serviceDead: time(arbiter.serviceDead),
    },
    haproxy: haproxy && {
      frontends: haproxy.frontends.map(frontendOf),
      backends: haproxy.backends.map((backend) => backendOf(backend, settings, nodes)),
      maxconn: haproxy.maxconn,
      timeouts: {
        connect: time(haproxy.timeouts.connect),
        client: time(haproxy.timeouts.client),
        server: time(haproxy.timeouts.server),
      },
      stats: haproxy.stats,
    },
    nginx,
    external,
    witness: undefined,
    authority: undefined,
    mariadb: undefined,
    fencing: undefined,
    base: settings.base,
    objectives: objectivesOf(settings.objectives),
    secrets: {
      beaconKey: { secret: "beaconKey" },
      previousBeaconKey: settings.previousBeaconKey === undefined ? undefined : { secret: "previousBeaconKey" },
    },
  };
}

function time(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined) throw new Error(`the schema let "${text}" pass as a duration`);
  // 66766.001 s is not a whole number of milliseconds in binary; the microsecond is the finest unit that can be written.
  return ms(Math.round(value * 1_000) / 1_000);
}

const timeOr = (text: string | undefined, otherwise: number): Duration =>
  text === undefined ? ms(otherwise) : time(text);

function nodeOf({ name, ssh, networks }: PairSettings["nodes"][number], index: number): Node {
  const id: NodeId = NODE_IDS[index === 0 ? 0 : 1];
  const attachments = Object.entries(networks).filter(([, attachment]) => attachment !== undefined);
  return {
    id,
    name,
    site: undefined,
    ssh: sshOf(ssh, index),
    networks: Object.fromEntries(attachments) as Record<NetworkName, Attachment>,
  };
}

function sshOf(
  { host, port, user, hostKey, keyFile, key, jump }: PairSettings["nodes"][number]["ssh"],
  index: number,
): Ssh {
  const auth: Ssh["auth"] =
    key !== undefined
      ? { kind: "key", key: { secret: `nodes[${index}].ssh.key` } }
      : keyFile !== undefined
        ? { kind: "keyFile", file: keyFile }
        : { kind: "agent" };
  return { host, port, user, hostKey, auth, jump };
}

type HaproxySettings = NonNullable<PairSettings["haproxy"]>;

function frontendOf({ name, bind, mode, certificate, backend }: HaproxySettings["frontends"][number]): Frontend {
  const colon = bind.lastIndexOf(":");
  return { name, bind: { vip: bind.slice(0, colon), port: Number(bind.slice(colon + 1)) }, mode, certificate, backend };
}

function backendOf(
  { name, mode, algorithm, service, servers, check, maxconn }: HaproxySettings["backends"][number],
  { nginx, external }: PairSettings,
  nodes: readonly [Node, Node],
): Backend {
  const used = service ?? (nginx === undefined ? external?.name : "nginx");
  const port = used === "nginx" ? nginx?.port : external?.port;
  const managed = servers === undefined && used === "nginx" && mode === "http";
  return {
    name,
    mode,
    algorithm,
    servers:
      servers ??
      nodes.map((node) => ({
        name: node.name,
        address: node.networks.public.address.split("/")[0] ?? "",
        port: port ?? 0,
      })),
    check: {
      path: check.path ?? (managed ? nginx?.healthPath : undefined),
      status: check.status,
      interval: time(check.interval),
      fastInterval: time(check.fastInterval),
      fall: check.fall,
      rise: check.rise,
      timeout: time(check.timeout),
    },
    maxconn,
  };
}

/** Only what is stated; what a tier promises for the rest is the estimate's to know. */
function objectivesOf({ tier, rto, rpo }: PairSettings["objectives"]): Pair["objectives"] {
  const stated = (targets: Readonly<Record<string, string | undefined>>) =>
    Object.fromEntries(Object.entries(targets).flatMap(([id, text]) => (text === undefined ? [] : [[id, time(text)]])));
  return { tier, rto: stated(rto), rpo: stated(rpo) };
}

/** Paths of the secrets that this pair's configuration holds, e.g. `beaconKey`, `nodes[0].ssh.key`. */
export function secretPaths(pair: Pair): readonly string[] {
  const keys = pair.nodes.flatMap(({ ssh }) => (ssh.auth.kind === "key" ? [ssh.auth.key.secret] : []));
  const { beaconKey, previousBeaconKey } = pair.secrets;
  return [beaconKey.secret, ...(previousBeaconKey === undefined ? [] : [previousBeaconKey.secret]), ...keys];
}

/** What stands at each place of a secret in an input that may be wrong; values only where they are readable. */
function secretFields(input: unknown): readonly (readonly [path: string, value: unknown])[] {
  const pair = (typeof input === "object" && input !== null ? input : {}) as Record<string, unknown>;
  const nodes = Array.isArray(pair.nodes) ? (pair.nodes as readonly ({ ssh?: { key?: unknown } } | null)[]) : [];
  return [
    ["beaconKey", pair.beaconKey],
    ["previousBeaconKey", pair.previousBeaconKey],
    ...nodes.map((node, index) => [`nodes[${index}].ssh.key`, node?.ssh?.key] as const),
  ];
}

/** The secrets' values by path, from the object that the engine hands to a program. They belong into `pulumi.secret` at once. */
export const secretsOf = (input: unknown): ReadonlyMap<string, string> =>
  new Map(secretFields(input).filter((entry): entry is [string, string] => typeof entry[1] === "string"));

/** How the secrets of a stack file stand in it, also when it has mistakes. */
export function secretStates(
  input: unknown,
): readonly { path: string; state: "encrypted" | "plain text" | "missing" }[] {
  return secretFields(input)
    .filter(([path, value]) => value !== undefined || path === "beaconKey")
    .map(([path, value]) => {
      if (value === undefined) return { path, state: "missing" };
      const secure = (value as { secure?: unknown } | null)?.secure;
      return { path, state: typeof secure === "string" ? "encrypted" : "plain text" };
    });
}

/**
 * A stack file's input as it will be once `hotpair scan` has pinned the host keys: places without a valid key get one that
 * no server has, so that everything else can be checked before.
 */
export function withPlaceholders(input: unknown): unknown {
  let made = 0;
  const pinned = (ssh: unknown): unknown => {
    if (typeof ssh !== "object" || ssh === null) return ssh;
    const { hostKey, jump } = ssh as { hostKey?: unknown; jump?: unknown };
    return {
      ...ssh,
      hostKey: typeof hostKey === "string" && isHostKey(hostKey) ? hostKey : placeholderKey(made++),
      ...(jump === undefined ? {} : { jump: pinned(jump) }),
    };
  };
  const { nodes } = (input ?? {}) as { nodes?: unknown };
  if (!Array.isArray(nodes)) return input;
  const filled = nodes.map((node: unknown) =>
    typeof node === "object" && node !== null && "ssh" in node ? { ...node, ssh: pinned(node.ssh) } : node,
  );
  return { ...(input as object), nodes: filled };
}

const placeholderKey = (index: number): string => {
  const type = "ssh-ed25519";
  const blob = `\0\0\0${String.fromCharCode(type.length)}${type}\0\0\0 ${String.fromCharCode(index).repeat(32)}`;
  return `${type} ${btoa(blob)}`;
};
