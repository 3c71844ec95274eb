// `hotpair init | scan | secrets | render`: the commands that work on a stack file and touch no server (scan
// only asks for host keys). Thin: what a configuration means is in infra/config, what follows from it in services and plan.

import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { composeStack, type NewNode, type NewStack, withPrefixOf } from "../config/compose.ts";
import { removeValue, setValue } from "../config/edit.ts";
import {
  configPath,
  parsePath,
  readPair,
  readStack,
  readStackFile,
  secretPaths,
  secretStates,
  valueAt,
  withPlaceholders,
} from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import { NODE_IDS, type Node, type Witness } from "../model/pair.ts";
import type { Content, HostPlan } from "../model/plan.ts";
import { planHosts } from "../plan/plan.ts";
import { sshTargetOf } from "../ssh/reach.ts";
import { scanHostKeys } from "../ssh/run.ts";
import { newSalt } from "./passphrase.ts";
import { ask, isTerminal } from "./questions.ts";
import { GENERATED, generatedFor, newBeaconKey, passphrase, secretStore } from "./secrets.ts";
import { loadStack, type Named, readStackText, shownPath, stackOption, stackPath } from "./stack.ts";
import { columns, confirm } from "./terminal.ts";

export function register(program: Command): void {
  program
    .command("init")
    .description("write a new stack file, from flags or questions, with its secrets generated")
    .addOption(stackOption())
    .option(
      "--node <parts>",
      "twice: name=node-a,ssh=root@192.0.2.11:22,public=eth0:192.0.2.11/24,heartbeat=eth1:198.18.1.11/24[,storage=…][,key=FILE]",
      collect,
      [],
    )
    .option("--vip <name=address>", "once or twice; two prefer one node each", collect, [])
    .option("--router-id <number>", "VRRP virtual router id of the first VIP", "51")
    .option("--service <what>", "nginx, NAME:PORT of a service that hotpair does not manage, or none", "nginx")
    .option("--port <number>", "where HAProxy listens on the VIPs", "80")
    .addOption(
      new Option("--tier <name>", "recovery targets").choices(["standard", "critical", "extreme"]).default("standard"),
    )
    .action(init);

  program
    .command("scan")
    .description("fetch the servers' SSH host keys and, after confirmation, pin them in the stack file")
    .addOption(stackOption())
    .option("--node <name>", "only this node")
    .option("--accept <fingerprint>", "accept the key with this SHA256 fingerprint without asking", collect, [])
    .action(scan);

  const secrets = program.command("secrets").description("the secrets in a stack file");
  secrets
    .command("list")
    .description("which secrets there are and whether they are encrypted; shows no value")
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(listSecrets);
  secrets
    .command("rotate")
    .description("new beacon key and replication password, in two phases: rotate, up, rotate --finish, up")
    .addOption(stackOption())
    .option("--finish", "second phase: drop what was before", false)
    .action(rotate);

  program
    .command("render")
    .description("write exactly the files that each server would get")
    .addOption(stackOption())
    .requiredOption("--out <directory>", "a new or empty directory")
    .option("--with-secrets", "with the secrets' values instead of placeholders", false)
    .action(renderFiles);
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

// init

interface InitOptions extends Named {
  readonly node: readonly string[];
  readonly vip: readonly string[];
  readonly routerId: string;
  readonly service: string;
  readonly port: string;
  readonly tier: string;
}

async function init(options: InitOptions): Promise<void> {
  const questions = options.node.length === 0 && options.vip.length === 0;
  if (questions && !isTerminal())
    throw new UserError("nothing to write the stack file from", [
      "give --node twice and --vip, or run hotpair init on a terminal to be asked",
    ]);
  const stack = options.stack || process.env.PULUMI_STACK || (questions ? await ask("Name of the stack", "prod") : "");
  if (stack === "") throw new UserError("the new stack needs a name", ["name it with -s STACK"]);
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(stack))
    throw new UserError(`"${stack}" cannot name a stack`, ["expected letters, digits and . _ -, e.g. prod"]);
  const file = stackPath(stack);
  if (existsSync(file))
    throw new UserError(`stack ${stack} exists: ${shownPath(file)} is left as it is`, [
      "choose another name with -s, or edit the file",
    ]);

  const answers = questions ? await askForStack(options) : stackFromFlags(options);
  const { salt, crypter } = await newSalt(await passphrase(stack, { repeat: true }));
  const text = composeStack({
    ...answers,
    stack,
    beaconKey: crypter.encrypt(newBeaconKey()),
    encryptionSalt: salt,
  });
  // Everything but the host keys, which only the servers know.
  readPair(withPlaceholders(readStackFile(text, shownPath(file)).pairInput), { stack, locate: () => undefined });
  writeFileSync(file, text, { flag: "wx" });
  console.log(`wrote ${shownPath(file)}`);
  console.log("its secrets need the passphrase in PULUMI_CONFIG_PASSPHRASE; keep it where you keep passwords");
  if (questions && (await confirm("Ask the servers for their host keys now?", false)))
    await scan({ stack, accept: [] });
  else console.log(`next: hotpair scan -s ${stack}, then hotpair check -s ${stack}`);
}

type Answers = Omit<NewStack, "stack" | "beaconKey" | "encryptionSalt">;

function stackFromFlags(options: InitOptions): Answers {
  const nodes = options.node.map(nodeFromFlag);
  const vips = options.vip.map((flag) => {
    const [name, address] = split(flag, "=");
    return { name, address };
  });
  return answersOf(nodes, vips, options);
}

function answersOf(
  nodes: readonly NewNode[],
  vips: readonly { readonly name: string; readonly address: string }[],
  options: Omit<InitOptions, "node" | "vip">,
): Answers {
  const [name, port] = split(options.service, ":");
  const service =
    options.service === "nginx" || options.service === "none" ? options.service : { name, port: Number(port) };
  return {
    nodes,
    vips: vips.map((vip, index) => ({
      name: vip.name,
      address: withPrefixOf(vip.address, nodes[0]?.networks.public?.address ?? ""),
      preferred: vips.length > 1 ? nodes[index]?.name : undefined,
    })),
    routerId: Number(options.routerId),
    service,
    port: service === "none" ? undefined : Number(options.port),
    tier: options.tier,
  };
}

/** Both sides of the first separator; the second is empty when there is none. */
function split(value: string, separator: string): [string, string] {
  const at = value.indexOf(separator);
  return at < 0 ? [value, ""] : [value.slice(0, at), value.slice(at + 1)];
}

function nodeFromFlag(flag: string): NewNode {
  const known = ["name", "ssh", "public", "heartbeat", "storage", "key"];
  const parts = new Map(flag.split(",").map((part) => split(part, "=")));
  const strange = [...parts.keys()].find((key) => !known.includes(key));
  if (strange !== undefined)
    throw new UserError(`--node: "${strange}" is not one of ${known.join(", ")}`, [
      "e.g. --node name=node-a,ssh=root@192.0.2.11,public=eth0:192.0.2.11/24,heartbeat=eth1:198.18.1.11/24",
    ]);
  const network = (name: string) => {
    const value = parts.get(name);
    if (value === undefined || value === "") return {};
    const [interfaceName, address] = split(value, ":");
    return { [name]: { interface: interfaceName, address } };
  };
  return {
    ...sshFrom(parts.get("ssh") ?? ""),
    name: parts.get("name") ?? "",
    keyFile: parts.get("key") || undefined,
    networks: { ...network("public"), ...network("heartbeat"), ...network("storage") },
  };
}

/** `[user@]host[:port]`. */
function sshFrom(value: string): { host: string; port: number; user: string } {
  const match = /^(?:([^@]+)@)?(.+?)(?::(\d+))?$/.exec(value);
  return { user: match?.[1] ?? "root", host: match?.[2] ?? "", port: Number(match?.[3] ?? 22) };
}

async function askForStack(options: InitOptions): Promise<Answers> {
  const nodes: NewNode[] = [];
  for (const letter of NODE_IDS) {
    const name = await ask(`Node ${letter}: host name`, `node-${letter}`);
    const ssh = sshFrom(await ask(`Node ${letter}: SSH, as user@host:port`));
    const keyFile = await ask(`Node ${letter}: private key file (empty: the SSH agent)`, nodes[0]?.keyFile ?? "");
    const network = async (what: string, example: string) => {
      const interfaceName = await ask(`Node ${letter}: ${what} interface`, example);
      return {
        interface: interfaceName,
        address: await ask(`Node ${letter}: address with prefix on ${interfaceName}`),
      };
    };
    const networks = {
      public: await network("public", nodes[0]?.networks.public?.interface ?? "eth0"),
      heartbeat: await network("heartbeat", nodes[0]?.networks.heartbeat?.interface ?? "eth1"),
    };
    const second =
      nodes[0] === undefined
        ? await confirm("Is there a storage network, a second path between the nodes?", false)
        : nodes[0].networks.storage !== undefined;
    const storage = second
      ? { storage: await network("storage", nodes[0]?.networks.storage?.interface ?? "eth2") }
      : {};
    nodes.push({ name, ...ssh, keyFile: keyFile || undefined, networks: { ...networks, ...storage } });
  }
  const vips = [{ name: await ask("Name of the VIP", "web"), address: await ask("Address of the VIP") }];
  if (await confirm("A second VIP, so that both nodes are active?", false))
    vips.push({ name: await ask("Name of the second VIP", "api"), address: await ask("Its address") });
  const routerId = await ask("VRRP virtual router id, unused on these networks", options.routerId);
  const service = await ask("Service: nginx, NAME:PORT of one that you run, or none", options.service);
  const port = service === "none" ? options.port : await ask("Port of HAProxy on the VIP", options.port);
  const tier = await ask("Recovery targets: standard (30s), critical (1s) or extreme (300ms)", options.tier);
  return answersOf(nodes, vips, { ...options, routerId, service, port, tier });
}

// scan

async function scan(options: Named & { readonly node?: string; readonly accept: readonly string[] }): Promise<void> {
  const found = readStackText(options.stack);
  const { stack, file } = found;
  const stackFile = readStackFile(found.text, shownPath(file));
  if (stackFile.problems.length > 0) throw new UserError(`${shownPath(file)} has mistakes`, stackFile.problems);
  // A stack file without host keys is not valid yet; everything else in it must be.
  const written = stackFile.pairInput;
  const pair = readPair(withPlaceholders(written), { stack, locate: stackFile.locate });
  const all: readonly { readonly path: readonly PropertyKey[]; readonly host: Node | Witness }[] = [
    ...pair.nodes.map((host, index) => ({ path: ["nodes", index], host })),
    ...(pair.witness === undefined ? [] : [{ path: ["witness"], host: pair.witness }]),
  ];
  const hosts = all.filter(({ host }) => options.node === undefined || host.name === options.node);
  if (hosts.length === 0)
    throw new UserError(`stack ${stack} has no node ${options.node}`, [
      `its nodes: ${all.map(({ host }) => host.name).join(", ")}`,
    ]);

  let text = found.text;
  const pin = async (path: readonly PropertyKey[], what: string, present: unknown, keys: ScannedKeys) => {
    const chosen = await choose(what, present, keys, options.accept);
    if (chosen !== undefined && chosen !== present) text = setValue(text, path, chosen);
    return chosen;
  };
  let refused = 0;
  for (const { path: at, host: node } of hosts) {
    const present = (path: readonly PropertyKey[]): unknown => valueAt(written, path);
    const { host, port, jump } = node.ssh;
    let via: Parameters<typeof scanHostKeys>[2];
    if (jump !== undefined) {
      const what = `jump host ${jump.host} port ${jump.port}`;
      const path = [...at, "ssh", "jump", "hostKey"];
      const hostKey = await pin(path, what, present(path), await scanHostKeys(jump.host, jump.port));
      if (hostKey === undefined) {
        refused += 1;
        continue;
      }
      via = { jump: { ...jump, hostKey }, auth: await authOf(node, found, stackFile) };
    }
    const what = `${node.name} (${host} port ${port})`;
    const keys = await scanHostKeys(host, port, via);
    const path = [...at, "ssh", "hostKey"];
    if ((await pin(path, what, present(path), keys)) === undefined) refused += 1;
  }
  if (text !== found.text) {
    writeFileSync(file, text);
    console.log(`wrote ${shownPath(file)}`);
  }
  if (refused > 0) {
    console.error(`${refused} of the host keys were not accepted; those entries are as they were`);
    process.exitCode = 1;
  }
}

type ScannedKeys = Awaited<ReturnType<typeof scanHostKeys>>;

/** The jump host is reached with the node's own key. */
async function authOf(
  node: Node | Witness,
  { stack, file, text }: { stack: string; file: string; text: string },
  stackFile: ReturnType<typeof readStackFile>,
) {
  if (node.ssh.auth.kind !== "key") return sshTargetOf(node, () => "").auth;
  const values = await secretValues([node.ssh.auth.key.secret], { stack, file, text, stackFile });
  return sshTargetOf(node, ({ secret }) => values.get(secret) ?? "").auth;
}

/** The key to pin, or undefined when nobody vouches for it. */
async function choose(
  what: string,
  present: unknown,
  keys: ScannedKeys,
  accept: readonly string[],
): Promise<string | undefined> {
  console.log(`${what}:`);
  for (const { hostKey, fingerprint } of keys) console.log(`  ${fingerprint}  ${hostKey.split(" ")[0]}`);
  const pinned = keys.find(({ hostKey }) => hostKey === present);
  if (pinned !== undefined) {
    console.log(`  ${pinned.fingerprint} is pinned already`);
    return pinned.hostKey;
  }
  if (typeof present === "string")
    console.log("  WARNING: another key is pinned: the server was installed anew, or this is not the server");
  const vouched = keys.find(({ fingerprint }) => accept.includes(fingerprint));
  if (vouched !== undefined) return vouched.hostKey;
  const [preferred] = keys;
  if (preferred === undefined) throw new UserError(`${what} showed no host key`);
  if (!isTerminal()) {
    console.log(`  compare with the server's own, then: hotpair scan --accept ${preferred.fingerprint}`);
    return undefined;
  }
  console.log("  on the server: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
  return (await confirm(`  Is ${preferred.fingerprint} its own?`, false)) ? preferred.hostKey : undefined;
}

// secrets

function listSecrets(options: Named & { readonly json: boolean }): void {
  const { file, text } = readStackText(options.stack);
  const { pairInput, locate, problems } = readStackFile(text, shownPath(file));
  if (pairInput === undefined) throw new UserError(`${shownPath(file)} has mistakes`, problems);
  const secrets = secretStates(pairInput).map(({ path, state }) => {
    const place = locate(parsePath(path));
    return { path: configPath(parsePath(path)), state, file: shownPath(file), line: place?.line ?? 1 };
  });
  const rotating = secrets.some(({ path }) => GENERATED.some(({ previous }) => path === configPath(previous)));
  if (options.json) console.log(JSON.stringify({ secrets, rotating }, null, 2));
  else {
    const rows = secrets.map(({ path, state, file: at, line }) => [path, state, `${at}:${line}`]);
    for (const line of columns(rows)) console.log(line);
    if (rotating)
      console.log("a rotation is under way: hotpair up, then hotpair secrets rotate --finish, then hotpair up");
  }
  if (secrets.some(({ state }) => state !== "encrypted")) process.exitCode = 2;
}

async function rotate(options: Named & { readonly finish: boolean }): Promise<void> {
  const found = readStackText(options.stack);
  const { stack, file, text } = found;
  const stackFile = readStackFile(text, shownPath(file));
  const at = (path: readonly string[]): unknown => valueAt(stackFile.pairInput, path);
  const own = generatedFor(at);
  const under = own.filter(({ previous }) => at(previous) !== undefined);
  const names = (some: readonly { readonly what: string }[]): string => some.map(({ what }) => what).join(" and ");
  if (options.finish) {
    readStack(text, shownPath(file), stack);
    if (under.length === 0)
      throw new UserError(`no rotation is under way: there is no previous ${names(own)}`, [
        `start one with: hotpair secrets rotate -s ${stack}`,
      ]);
    writeFileSync(
      file,
      under.reduce((edited, { previous }) => removeValue(edited, previous), text),
    );
    console.log(
      `${shownPath(file)}: the previous ${names(under)} is gone; hotpair up -s ${stack} makes the nodes forget it`,
    );
    return;
  }
  if (stackFile.problems.length > 0) throw new UserError(`${shownPath(file)} has mistakes`, stackFile.problems);
  if (under.length > 0)
    throw new UserError("a rotation is under way already", [
      `finish it first: hotpair up -s ${stack}, then hotpair secrets rotate --finish -s ${stack}`,
    ]);
  const store = await secretStore({ stack, file, text, stackFile });
  let edited = text;
  let carried = false;
  for (const { path, previous, make } of own) {
    // A plain or missing value is no secret to carry over: it is simply replaced.
    const before = ciphertextOf(at(path));
    if (before !== undefined) edited = setValue(edited, previous, { secure: before });
    carried ||= before !== undefined;
    edited = setValue(edited, path, { secure: await store.encrypt(make()) });
  }
  writeFileSync(file, edited);
  console.log(`${shownPath(file)} has a new ${names(own)}`);
  if (carried)
    console.log(
      `next: hotpair up -s ${stack} (both nodes accept old and new), then hotpair secrets rotate --finish -s ${stack}, then up`,
    );
}

function ciphertextOf(value: unknown): string | undefined {
  const secure = (value as { secure?: unknown } | undefined)?.secure;
  return typeof secure === "string" ? secure : undefined;
}

async function secretValues(
  paths: readonly string[],
  stack: Parameters<typeof secretStore>[0],
): Promise<ReadonlyMap<string, string>> {
  const store = await secretStore(stack);
  const values = new Map<string, string>();
  for (const path of paths) {
    const value = parsePath(path).reduce<unknown>(
      (node, part) => (node as Record<PropertyKey, unknown> | undefined)?.[part],
      stack.stackFile.pairInput,
    );
    const ciphertext = ciphertextOf(value);
    if (ciphertext !== undefined) values.set(path, await store.decrypt(path, ciphertext));
  }
  return values;
}

// render

async function renderFiles(options: Named & { readonly out: string; readonly withSecrets: boolean }): Promise<void> {
  const loaded = loadStack(options.stack);
  const { pair } = loaded;
  if (existsSync(options.out) && readdirSync(options.out).length > 0)
    throw new UserError(`${options.out} is not empty: files of an earlier rendering would stand among the new ones`, [
      "give --out a new directory",
    ]);
  const values = options.withSecrets ? await secretValues(secretPaths(pair), loaded) : undefined;
  // Only the owner may look into a tree that holds secrets.
  mkdirSync(options.out, { recursive: true, mode: values === undefined ? 0o755 : 0o700 });
  for (const plan of planHosts(pair)) {
    const directory = join(options.out, plan.name);
    writeHost(plan, directory, values);
    console.log(`${directory}: ${plan.files.length} files`);
  }
}

function writeHost(plan: HostPlan, directory: string, values: ReadonlyMap<string, string> | undefined): void {
  for (const file of plan.files) {
    const path = join(directory, file.path);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, textOf(file.content, values), { mode: 0o600, flag: "wx" });
    chmodSync(path, Number.parseInt(file.mode, 8));
  }
}

/** Content with the secrets' values, or with their names where the values are not wanted. */
export const textOf = (content: Content, values: ReadonlyMap<string, string> | undefined): string =>
  typeof content === "string"
    ? content
    : content
        .map((part) => (typeof part === "string" ? part : (values?.get(part.secret) ?? `<secret ${part.secret}>`)))
        .join("");
