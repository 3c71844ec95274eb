// Makes a machine ready for the demo and the tests: npm dependencies, system packages, Python tools, the Pulumi
// toolchain, the lab's image. Every step says what it does, how long it took, and is skipped when it is done already.
// Plain JavaScript without dependencies, since it runs under the machine's own Node before anything is installed.
//
//   node scripts/setup.mjs            makes ready
//   node scripts/setup.mjs --check    only says what is there and what is missing; exit code 1 when something is

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { elapsed, projectEnvironment, ROOT } from "./project.mjs";

const TOOLCHAIN = join(ROOT, "infra", "toolchain");

/** A mistake or a lack that the user can mend: printed without a stack trace, exit code 2. */
class SetupError extends Error {}

/** Whether the lab's virtual machines could run here (infra/lab/requirements.ts); where not, their tests are skipped. */
const HAS_MACHINES =
  process.arch === "x64" && (existsSync("/dev/net/tun") || spawnSync("modprobe", ["-q", "tun"]).status === 0);

/**
 * The steps in their order. `missing` says what is not there, or undefined; `act`, described by `how`, puts it there and
 * may report what it is doing at the moment. What is `forTests` nobody needs to run the demo or hotpair itself.
 */
const STEPS = {
  npm: { title: "npm dependencies", missing: missingDependencies, how: "npm ci", act: installDependencies },
  packages: {
    title: "system packages",
    missing: () => named(missingSystemPackages()),
    how: "apt-get install",
    act: (say) => aptInstall(missingSystemPackages(), say),
  },
  python: {
    title: "ruff and mypy",
    missing: () => missingPythonTools("tools"),
    how: "pip install",
    act: () => installPythonTools("tools"),
  },
  moto: {
    title: "moto, a stand-in for AWS",
    missing: () => missingPythonTools("moto"),
    how: "pip install",
    act: () => installPythonTools("moto"),
    forTests: true,
  },
  awsPackage: {
    title: "@pulumi/aws",
    missing: missingAwsPackage,
    how: "npm pack",
    act: installAwsPackage,
    forTests: true,
  },
  toolchain: {
    title: "Pulumi toolchain",
    missing: missingToolchain,
    how: "downloading it, or building it (4 minutes on 2 cores, once)",
    act: installToolchain,
  },
  lab: {
    title: "lab image",
    missing: () => missingImage({ stateful: true }),
    how: "building it (two minutes, once)",
    act: (say) => buildImage(["--witness"], say),
  },
  emulator: {
    title: "what virtual machines need",
    missing: () => (HAS_MACHINES ? named(missingPackages(MACHINE_PROGRAMS)) : undefined),
    how: "apt-get install",
    act: (say) => aptInstall(missingPackages(MACHINE_PROGRAMS), say),
    forTests: true,
  },
  machines: {
    title: "image of virtual machines",
    missing: () => (HAS_MACHINES ? missingImage({ machines: true }) : undefined),
    how: "building it (a minute, once)",
    act: (say) => buildImage(["--machines"], say),
    forTests: true,
  },
};

/** With what nothing but tests needs: of stacks in AWS, and with virtual machines. */
export const EVERYTHING = Object.keys(STEPS);

/** Makes the machine ready; ends the process with exit code 2 when that is impossible, having said what to do. */
export async function setup(names = Object.keys(STEPS).filter((name) => !STEPS[name].forTests)) {
  try {
    const lock = await oneAtATime();
    for (const name of names) await makeReady(STEPS[name]);
    lock.close();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`setup: ${error.message}`);
    process.exit(2);
  }
}

async function makeReady({ title, missing, how, act }) {
  const started = performance.now();
  const lack = await missing();
  if (lack === undefined) {
    console.log(`setup: ${title}: ready`);
    return;
  }
  const progress = showProgress(title, started);
  try {
    progress.say(`${lack}: ${how}`);
    await act((line) => progress.say(line));
  } finally {
    progress.end();
  }
  const still = await missing();
  if (still !== undefined) throw new SetupError(`${title}: done, and yet ${still}`);
  console.log(`setup: ${title}: ready after ${elapsed(performance.now() - started)}`);
}

/** On a terminal the present line carries the running time; elsewhere each line is printed once. */
function showProgress(title, started) {
  const { isTTY } = process.stdout;
  let current = "";
  const draw = () => {
    const line = `setup: ${title}: ${current} (${elapsed(performance.now() - started)})`;
    process.stdout.write(`\r\x1b[2K${line.slice(0, (process.stdout.columns ?? 80) - 1)}`);
  };
  const timer = isTTY ? setInterval(draw, 500) : undefined;
  return {
    say(line) {
      if (isTTY && current) process.stdout.write("\n");
      current = line;
      if (isTTY) draw();
      else console.log(`setup: ${title}: ${line}`);
    },
    end() {
      clearInterval(timer);
      if (isTTY) process.stdout.write("\n");
    },
  };
}

/** Says what is there and what is missing; true when nothing is. */
export async function checkSetup() {
  let ready = true;
  for (const { title, missing } of Object.values(STEPS)) {
    const lack = await missing();
    console.log(`setup: ${title}: ${lack === undefined ? "ready" : `MISSING: ${lack}`}`);
    ready &&= lack === undefined;
  }
  if (existsSync(projectNode())) {
    const report = spawnSync(projectNode(), [join(TOOLCHAIN, "setup.ts"), "--report"], { encoding: "utf8" });
    console.log(`\n${report.stdout}${report.stderr}`.trimEnd());
  }
  return ready;
}

// --- npm dependencies

/** Compares what npm says it installed with what the lock file wants: packages, their versions, nothing else. */
function missingDependencies() {
  const wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  let installed;
  try {
    installed = JSON.parse(readFileSync(join(ROOT, "node_modules", ".package-lock.json"), "utf8")).packages;
  } catch {
    return "not installed";
  }
  const differs = Object.entries(wanted).some(
    ([path, entry]) => path !== "" && !entry.optional && installed[path]?.version !== entry.version,
  );
  if (differs) return "not what package-lock.json says";
  return existsSync(projectNode()) ? undefined : "without the project's Node";
}

async function installDependencies() {
  await quietly("npm", ["ci", "--no-fund", "--no-audit"], "npm ci");
}

function projectNode() {
  return join(ROOT, "node_modules", ".bin", "node");
}

// --- system packages

/** What the lab, the tests and the demo call, and the Debian package that brings it. */
const PROGRAMS = {
  chromium: "chromium",
  curl: "curl",
  haproxy: "haproxy",
  ip: "iproute2",
  keepalived: "keepalived",
  "mkfs.ext4": "e2fsprogs",
  mmdebstrap: "mmdebstrap",
  nft: "nftables",
  nginx: "nginx-light",
  nsenter: "util-linux",
  openssl: "openssl",
  python3: "python3",
  shellcheck: "shellcheck",
  ssh: "openssh-client",
  sshd: "openssh-server",
  "systemd-nspawn": "systemd-container",
  zstd: "zstd",
};

/** The same for a lab of virtual machines. */
const MACHINE_PROGRAMS = {
  cpio: "cpio",
  "qemu-img": "qemu-utils",
  "qemu-system-x86_64": "qemu-system-x86",
  xz: "xz-utils",
};

/** Services of those packages that must not run on this machine because a test needs a program of theirs. */
const SERVICES = {
  haproxy: ["haproxy.service"],
  keepalived: ["keepalived.service"],
  "nginx-light": ["nginx.service"],
  "openssh-server": ["ssh.service", "ssh.socket"],
};

/** Debian packages of the programs that this machine lacks. */
function missingPackages(programs) {
  return [
    ...new Set(
      Object.keys(programs)
        .filter((program) => !onPath(program))
        .map((program) => programs[program]),
    ),
  ];
}

function missingSystemPackages() {
  const missing = new Set(missingPackages(PROGRAMS));
  if (!existsSync("/usr/share/keyrings/debian-archive-keyring.gpg")) missing.add("debian-archive-keyring");
  const python = onPath("python3");
  // ensurepip is what Debian splits off into python3-venv.
  if (!python || spawnSync(python, ["-c", "import ensurepip, venv"]).status !== 0) missing.add("python3-venv");
  return [...missing].sort();
}

/** For a person; undefined: nothing is missing. */
const named = (packages) => (packages.length === 0 ? undefined : packages.join(" "));

/** Installs Debian packages without starting or enabling any service of theirs. */
async function aptInstall(packages, say) {
  const command = `apt-get install --no-install-recommends ${packages.join(" ")}`;
  if (!onPath("apt-get"))
    throw new SetupError(`this is no Debian; install by hand what these packages bring: ${packages.join(" ")}`);
  if (process.getuid() !== 0) throw new SetupError(`system packages are missing; as root run: ${command}`);
  const options = ["-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"];
  // One unreachable source among several does not matter if the packages can be had.
  const updated = await output("apt-get", [...options, "update"]);
  if (updated.code !== 0) say("apt-get update had errors; going on with the package lists that are there");
  await withoutStartingServices(() =>
    quietly("apt-get", [...options, "install", "-y", "--no-install-recommends", ...packages], command, {
      DEBIAN_FRONTEND: "noninteractive",
    }),
  );
  const services = packages.flatMap((name) => SERVICES[name] ?? []);
  if (services.length > 0 && onPath("systemctl")) {
    say(`leaving disabled: ${services.join(" ")}`);
    for (const service of services) spawnSync("systemctl", ["disable", service]);
  }
}

/** Debian asks /usr/sbin/policy-rc.d before it starts a service; 101 forbids it (invoke-rc.d(8)). */
async function withoutStartingServices(work) {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return work();
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return await work();
  } finally {
    rmSync(policy, { force: true });
  }
}

// --- Python tools

/** What each environment has, exactly; tools of the checks and a library of the tests want nothing of each other. */
const REQUIREMENTS = {
  tools: join(TOOLCHAIN, "python-requirements.txt"),
  moto: join(ROOT, "test", "node", "moto-requirements.txt"),
};

function pythonDirectory(environment) {
  const digest = createHash("sha256").update(readFileSync(REQUIREMENTS[environment])).digest("hex").slice(0, 12);
  return join(cacheDirectory(), `python-${digest}`);
}

/** Absolute path of a Python program in the exact version that the project pins: `ruff`, `mypy`; `python` with moto. */
export function pythonTool(name, environment = "tools") {
  return join(pythonDirectory(environment), "bin", name);
}

// A virtual environment cannot be moved, so a mark says that it is whole.
const complete = (environment) => join(pythonDirectory(environment), "complete");

function missingPythonTools(environment) {
  return existsSync(complete(environment)) ? undefined : "not in hotpair's cache";
}

async function installPythonTools(environment) {
  const directory = pythonDirectory(environment);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await quietly("python3", ["-m", "venv", directory], "python3 -m venv");
  const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"];
  await quietly(join(directory, "bin", "python"), [...pip, "-r", REQUIREMENTS[environment]], "pip install");
  writeFileSync(complete(environment), "");
}

// --- what tests of stacks in AWS use

async function missingAwsPackage() {
  if (!existsSync(projectNode())) return "the project's Node is missing";
  const script =
    "const { awsPackageIsThere } = await import(process.argv[1]); process.exit(awsPackageIsThere() ? 0 : 1)";
  const room = pathToFileURL(join(TOOLCHAIN, "aws-package.ts")).href;
  const looked = await output(projectNode(), ["--input-type=module", "-e", script, room]);
  return looked.code === 0 ? undefined : "not in hotpair's cache";
}

async function installAwsPackage() {
  const made = await output(projectNode(), [join(ROOT, "bin", "hotpair.mjs"), "cloud", "install"]);
  if (made.code !== 0) throw new SetupError(`@pulumi/aws: ${made.errors.trim()}`);
}

// --- Pulumi toolchain

function missingToolchain() {
  if (!existsSync(projectNode())) return "the project's Node is missing";
  const looked = spawnSync(projectNode(), [join(TOOLCHAIN, "setup.ts"), "--look"], { encoding: "utf8" });
  return looked.status === 0 ? undefined : "no Pulumi CLI with its Node host and command plugin";
}

async function installToolchain(say) {
  const script = join(TOOLCHAIN, "setup.ts");
  let made = await output(projectNode(), [script], {}, say);
  // Exit code 3: only Go is missing. Debian has one that can fetch the version it takes.
  if (made.code === 3 && process.getuid() === 0 && onPath("apt-get")) {
    say("installing with apt-get: golang-go");
    await aptInstall(["golang-go"], say);
    made = await output(projectNode(), [script], {}, say);
  }
  if (made.code !== 0) throw new SetupError(`Pulumi toolchain: ${made.errors.trim()}`);
}

// --- lab image

/** `wanted` as `imageIsThere` takes it. */
async function missingImage(wanted) {
  if (!existsSync(projectNode())) return "the project's Node is missing";
  const script =
    "const { imageIsThere } = await import(process.argv[1]); process.exit((await imageIsThere(JSON.parse(process.argv[2]))) ? 0 : 1)";
  const room = pathToFileURL(join(ROOT, "infra", "lab", "image.ts")).href;
  const looked = await output(projectNode(), ["--input-type=module", "-e", script, room, JSON.stringify(wanted)]);
  return looked.code === 0 ? undefined : "not in hotpair's cache";
}

async function buildImage(options, say) {
  if (process.getuid() !== 0) throw new SetupError("the lab's hosts need root; as root run: node scripts/setup.mjs");
  const built = await output(projectNode(), [join(ROOT, "bin", "hotpair.mjs"), "lab", "image", ...options], {}, say);
  if (built.code !== 0) throw new SetupError(`lab image: ${built.errors.trim()}`);
}

// --- what the steps share

/** The same rule as infra/toolchain/places.ts, for a Node that cannot read TypeScript. */
function cacheDirectory() {
  if (process.env.HOTPAIR_CACHE) return resolve(process.env.HOTPAIR_CACHE);
  const base = process.env.XDG_CACHE_HOME ?? "";
  return join(isAbsolute(base) ? base : join(homedir(), ".cache"), "hotpair");
}

/** Debian's root may have a PATH without the directories of daemons. */
function onPath(program) {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories
    .filter(Boolean)
    .map((directory) => join(directory, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Runs a command; its lines on standard output go to `say`, its last errors into the result. */
function output(command, args, environment = {}, say = () => {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...projectEnvironment(), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let line = "";
    let printed = "";
    let errors = "";
    child.stdout.on("data", (data) => {
      printed = (printed + data).slice(-64_000);
      const lines = (line + data).split("\n");
      line = lines.pop() ?? "";
      for (const complete of lines) if (complete.trim()) say(complete.trim());
    });
    child.stderr.on("data", (data) => {
      errors = (errors + data).slice(-64_000);
    });
    child.on("error", (error) => resolve({ code: 127, printed, errors: error.message }));
    child.on("close", (code, signal) =>
      resolve({ code: code ?? 1, printed, errors: signal ? `${errors}${signal}` : errors }),
    );
  });
}

/** Runs a command that has nothing to say unless it fails. */
async function quietly(command, args, title, environment = {}) {
  const { code, printed, errors } = await output(command, args, environment);
  if (code === 0) return;
  const lines = `${printed}\n${errors}`.split("\n").filter((line) => line.trim() && !/^npm (warn|notice)/.test(line));
  // The cause stands at the beginning (npm) or at the end (apt-get, pip).
  const told = lines.length <= 24 ? lines : [...lines.slice(0, 12), "…", ...lines.slice(-12)];
  throw new SetupError(`${title} failed (exit status ${code}):\n  ${told.join("\n  ")}`);
}

/** Two set-ups at once would remove each other's node_modules. The kernel gives the lock back however its holder ends. */
async function oneAtATime() {
  const name = `\0hotpair/setup/${createHash("sha256").update(ROOT).digest("hex").slice(0, 32)}`;
  for (let told = false; ; told = true) {
    const server = createServer();
    const held = await new Promise((resolve, reject) => {
      server.once("error", (error) => (error.code === "EADDRINUSE" ? resolve(false) : reject(error)));
      server.listen(name, () => resolve(true));
    });
    if (held) return server;
    if (!told) console.log("setup: another set-up of this checkout is running; waiting for it");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const startedDirectly =
  process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href;
if (startedDirectly) {
  if (process.argv.includes("--check")) process.exit((await checkSetup()) ? 0 : 1);
  await setup(EVERYTHING);
}
