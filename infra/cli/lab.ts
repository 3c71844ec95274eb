// `hotpair lab …`: two real hosts and, where asked, a witness on this machine. Thin: everything that it does is in infra/lab.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { freeze, isFrozen, isPaused, pause, powerCut, powerOn, resume, thaw } from "../lab/faults.ts";
import {
  consolePrefix,
  ensureImage,
  ensureMachineImage,
  findLab,
  type HostName,
  hostOf,
  hostsOf,
  type ImageVariant,
  type Lab,
  type LabHost,
  labDown,
  labNames,
  labUp,
} from "../lab/lab.ts";
import { hostNames, networksOf } from "../lab/layout.ts";
import { requireLabMachine } from "../lab/requirements.ts";
import { UserError } from "../model/errors.ts";
import { sshArguments } from "../ssh/run.ts";
import { labStack, withLabFencing } from "./lab-stack.ts";
import { stackPath } from "./stack.ts";

interface Named {
  name: string;
}

interface LabOptions {
  image: ImageVariant;
  witness: boolean;
  machines: boolean;
  spareCards: boolean;
}

const hostChoice = new Intl.ListFormat("en", { type: "disjunction" }).format(hostNames);

export function register(program: Command): void {
  const lab = program.command("lab").description("two real hosts on this machine, to try hotpair and to break it");

  lab
    .command("up")
    .description("start two Debian hosts with their networks; builds their image the first time")
    .addOption(nameOption())
    .addOption(
      new Option("--image <variant>", "bare: a fresh server; ready: keepalived, HAProxy and nginx are installed")
        .choices(["bare", "ready"])
        .default("bare"),
    )
    .option("--witness", "also a third host, on the public network only: the witness of a pair that holds state", false)
    .option("--machines", "the two nodes are virtual machines with kernels and clocks of their own; slow", false)
    .option("--spare-cards", "with --machines: a second card on every network, and jumbo frames for storage", false)
    .option("--json", "print the lab as JSON", false)
    .action(async (options: Named & LabOptions & { json: boolean }) => {
      const started = Date.now();
      const { name, image, witness, machines, spareCards } = options;
      const up = await labUp({ name, image, witness, machines, spareCards, onStep: announce });
      announce(`lab ${up.name} is up after ${((Date.now() - started) / 1000).toFixed(1)} s`);
      console.log(options.json ? JSON.stringify(await describe(up), undefined, 2) : await summary(up));
    });

  lab
    .command("down")
    .description("remove a lab and everything that belongs to it")
    .addOption(nameOption())
    .option("--all", "every lab in this cache directory", false)
    .action(async (options: Named & { all: boolean }) => {
      for (const name of options.all ? await labNames() : [options.name]) {
        await labDown(name);
        announce(`lab ${name} is down`);
      }
    });

  lab
    .command("status")
    .description("the labs of this cache directory and their hosts")
    .option("--json", "print JSON", false)
    .action(async (options: { json: boolean }) => {
      const names = await labNames();
      const labs = names.map((name) => findLab(name)).filter((one) => one !== undefined);
      const broken = names.filter((name) => !labs.some((one) => one.name === name));
      if (options.json) return console.log(JSON.stringify(await Promise.all(labs.map(describe)), undefined, 2));
      if (names.length === 0) console.log("no lab is up: hotpair lab up");
      for (const one of labs) console.log(await summary(one));
      for (const name of broken) console.log(`lab ${name} is incomplete: hotpair lab down --name ${name}`);
    });

  lab
    .command("ssh")
    .description("a shell on a host, over SSH")
    .argument("<host>", hostChoice, asHost)
    .argument("[command...]", "a command instead of a shell")
    .addOption(nameOption())
    .passThroughOptions()
    .action(async (host: HostName, words: string[], options: Named) => {
      const { ssh } = hostOf(requireLab(options.name), host);
      await become(["ssh", ...sshArguments(ssh, words.length === 0), ...withoutDashes(words)]);
    });

  lab
    .command("exec")
    .description("run a command inside a host as its console would, without its network")
    .usage("[options] <host> -- <command...>")
    .argument("<host>", hostChoice, asHost)
    .argument("<command...>", "the command and its arguments")
    .addOption(nameOption())
    .passThroughOptions()
    .action(async (host: HostName, words: string[], options: Named) => {
      await become([...consolePrefix(requireLab(options.name), host), ...withoutDashes(words)]);
    });

  lab
    .command("image")
    .description("build the hosts' images, unless they are in the cache")
    .option("--witness", "also what `lab up --witness` needs: etcd and MariaDB", false)
    .option("--machines", "also what `lab up --machines` needs: a kernel, and disks", false)
    .action(async ({ witness, machines }: { witness: boolean; machines: boolean }) => {
      await requireLabMachine({ machines });
      announce(`image is there: ${await ensureImage("bare", { stateful: witness, onStep: announce })}`);
      if (machines) announce(`and that of virtual machines: ${await ensureMachineImage(announce)}`);
    });

  lab
    .command("power-cut")
    .description("cut a host's power: no goodbye, and what was not synced to its disk is lost")
    .argument("<host>", hostChoice, asHost)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named) => {
      const { at } = await powerCut(requireLab(options.name), host);
      announce(`${host} lost power at ${new Date(at).toISOString()}`);
    });

  lab
    .command("power-on")
    .description("power a host on and wait until it accepts SSH")
    .argument("<host>", hostChoice, asHost)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named) => {
      await powerOn(requireLab(options.name), host);
      announce(`${host} is on`);
    });

  lab
    .command("stack")
    .description("print a stack file for a lab that is not the default one: its addresses, keys and certificates")
    .option("--fencing", "with the lab's power switch as the power controller of both nodes", false)
    .addOption(nameOption())
    .action(async (options: Named & { fencing: boolean }) => {
      const there = requireLab(options.name);
      const text = readFileSync(stackPath(there.hosts.witness ? "lab-stateful" : "lab"), "utf8");
      const moved = await labStack(there, text);
      process.stdout.write(options.fencing ? await withLabFencing(there, moved) : moved);
    });

  lab
    .command("freeze")
    .description("stop a host where it stands, while its clocks go on")
    .argument("<host>", hostChoice, asHost)
    .option("--for <seconds>", "thaw it by itself after this time", asSeconds)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named & { for?: number }) => {
      const undo = options.for === undefined ? {} : { undoAfterMs: options.for * 1000 };
      const { at } = await freeze(requireLab(options.name), host, undo);
      announce(`${host} is frozen since ${new Date(at).toISOString()}`);
    });

  lab
    .command("thaw")
    .description("let a frozen host go on")
    .argument("<host>", hostChoice, asHost)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named) => {
      await thaw(requireLab(options.name), host);
      announce(`${host} goes on`);
    });

  lab
    .command("pause")
    .description("stop a virtual machine together with its clocks, as a hypervisor does that saves or moves one")
    .argument("<host>", hostChoice, asHost)
    .option("--for <seconds>", "resume it by itself after this time", asSeconds)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named & { for?: number }) => {
      const undo = options.for === undefined ? {} : { undoAfterMs: options.for * 1000 };
      const { at } = await pause(requireLab(options.name), host, undo);
      announce(`${host} is paused since ${new Date(at).toISOString()}`);
    });

  lab
    .command("resume")
    .description("let a paused virtual machine go on; to it, no time has passed")
    .argument("<host>", hostChoice, asHost)
    .addOption(nameOption())
    .action(async (host: HostName, options: Named) => {
      await resume(requireLab(options.name), host);
      announce(`${host} goes on`);
    });
}

function asSeconds(word: string): number {
  const seconds = Number(word);
  if (!(seconds > 0 && seconds <= 86_400)) throw new InvalidArgumentError("expected seconds, 1 for example.");
  return seconds;
}

function nameOption(): Option {
  return new Option("--name <name>", "which lab").default("default");
}

function asHost(word: string): HostName {
  const host = hostNames.find((one) => one === word);
  if (!host) throw new InvalidArgumentError(`expected ${hostChoice}.`);
  return host;
}

// Commander leaves a "--" that follows the first argument in place.
function withoutDashes(words: string[]): string[] {
  return words[0] === "--" ? words.slice(1) : words;
}

function requireLab(name: string): Lab {
  const lab = findLab(name);
  if (lab) return lab;
  throw new UserError(`lab ${name} is not up: hotpair lab up${name === "default" ? "" : ` --name ${name}`}`);
}

// Progress goes to standard error, so that standard output carries the result alone.
function announce(text: string): void {
  console.error(text);
}

async function powerOf(lab: Lab, host: LabHost): Promise<"on" | "off" | "frozen" | "paused"> {
  if (host.pid === undefined) return "off";
  if (isFrozen(lab, host.name)) return "frozen";
  return (await isPaused(lab, host.name)) ? "paused" : "on";
}

async function describe(lab: Lab) {
  const { name, index, image, stateDir, keyFile, namespaces } = lab;
  const hosts = hostsOf(lab).map(async (host) => {
    const { address, interface: interfaces, hostKey, kind, pid } = host;
    const power = await powerOf(lab, host);
    return { name: host.name, kind, power, pid: pid ?? null, address, interfaces, hostKey };
  });
  return { name, index, image, stateDir, keyFile, namespaces, hosts: await Promise.all(hosts) };
}

async function summary(lab: Lab): Promise<string> {
  const lines = [`lab ${lab.name} (image ${lab.image}, state in ${lab.stateDir})`];
  for (const host of hostsOf(lab)) {
    const addresses = networksOf(host.name).map((network) => `${network} ${host.address[network]}`);
    const kind = host.kind === "machine" ? "; a virtual machine" : "";
    lines.push(`  ${host.name.padEnd(7)}  ${(await powerOf(lab, host)).padEnd(3)}  ${addresses.join(", ")}${kind}`);
  }
  lines.push(`  client ${lab.prefix("public")}.50 in namespace ${lab.namespaces.client}`);
  lines.push(`  remote client ${lab.prefix("remote")}.50 in namespace ${lab.namespaces.remote}, behind a router`);
  return lines.join("\n");
}

/** Runs a program with this terminal and ends with its exit code. */
async function become(argv: string[]): Promise<void> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: "inherit" });
  // Ctrl-C is for the program; this process ends when it does.
  const ignore = () => undefined;
  process.on("SIGINT", ignore);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
  process.off("SIGINT", ignore);
}
