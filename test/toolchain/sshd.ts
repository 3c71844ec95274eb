// A real OpenSSH server on loopback for the tests of the toolchain: its own keys, its own configuration, ports that the
// kernel gives. It runs in a mount namespace with a password file of its own, so that a password can be tested without
// touching the machine's accounts.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const password = "secretpw";

export interface Keys {
  /** Contents of private key files. */
  authorized: string;
  unauthorized: string;
  /** The authorized key's twin, encrypted with "pw123". */
  encrypted: string;
  rsaPem: string;
  /** Public host key lines with comment. */
  hostEd25519: string;
  hostRsa: string;
  otherHostEd25519: string;
  otherHostEcdsa: string;
}

export interface Sshd {
  host: "127.0.0.1";
  user: "root";
  /** Accepts every environment variable. */
  port: number;
  /** Accepts none. */
  strictPort: number;
  keys: Keys;
  /** A directory for files that remote commands write. */
  scratch: string;
  stop(): Promise<void>;
}

/** Why sshd cannot run here, or undefined. */
export function sshdProblem(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root: sshd switches users and has a password file of its own";
  try {
    execFileSync("/usr/sbin/sshd", ["-V"], { stdio: "ignore" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "needs /usr/sbin/sshd (package openssh-server)";
  }
  return undefined;
}

export async function startSshd(): Promise<Sshd> {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-sshd-"));
  const key = (name: string, ...options: string[]) => {
    const file = join(directory, name);
    execFileSync("ssh-keygen", ["-q", "-f", file, "-C", name, ...options], { stdio: "ignore" });
    return { secret: readFileSync(file, "utf8"), line: readFileSync(`${file}.pub`, "utf8").trim() };
  };
  const plain = ["-N", ""];
  const ed25519 = ["-t", "ed25519", ...plain];
  const authorized = key("authorized", ...ed25519);
  const encrypted = key("encrypted", "-t", "ed25519", "-N", "pw123");
  const rsaPem = key("rsa", "-t", "rsa", "-b", "2048", "-m", "PEM", ...plain);
  const hostEd25519 = key("host_ed25519", ...ed25519);
  const hostRsa = key("host_rsa", "-t", "rsa", "-b", "2048", ...plain);
  const keys: Keys = {
    authorized: authorized.secret,
    unauthorized: key("unauthorized", ...ed25519).secret,
    encrypted: encrypted.secret,
    rsaPem: rsaPem.secret,
    hostEd25519: hostEd25519.line,
    hostRsa: hostRsa.line,
    otherHostEd25519: key("other_ed25519", ...ed25519).line,
    otherHostEcdsa: key("other_ecdsa", "-t", "ecdsa", ...plain).line,
  };

  const authorizedKeys = join(directory, "authorized_keys");
  writeFileSync(authorizedKeys, [authorized.line, encrypted.line, rsaPem.line, ""].join("\n"), { mode: 0o600 });
  const hash = execFileSync("openssl", ["passwd", "-6", password], { encoding: "utf8" }).trim();
  writeFileSync(join(directory, "shadow"), `root:${hash}:19000:0:99999:7:::\n`, { mode: 0o600 });
  // An empty home: the start-up files of whoever runs the tests must not print into them.
  const home = join(directory, "home");
  mkdirSync(home);
  writeFileSync(join(directory, "passwd"), `root:x:0:0:root:${home}:/bin/bash\n${systemUsers()}`, { mode: 0o644 });
  mkdirSync(join(directory, "scratch"));
  // sshd wants its privilege separation directory even where it was never started as a service.
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });

  const servers: ChildProcess[] = [];
  const ports: number[] = [];
  for (const accept of ["AcceptEnv *", "# accepts no variable"]) {
    const port = await freePort();
    const config = join(directory, `sshd_config_${port}`);
    writeFileSync(
      config,
      [
        `Port ${port}`,
        "ListenAddress 127.0.0.1",
        `HostKey ${join(directory, "host_ed25519")}`,
        `HostKey ${join(directory, "host_rsa")}`,
        `AuthorizedKeysFile ${authorizedKeys}`,
        "PermitRootLogin yes",
        "PasswordAuthentication yes",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "PidFile none",
        "MaxStartups 1000",
        "PrintMotd no",
        accept,
        "",
      ].join("\n"),
    );
    const script =
      'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && ' +
      'exec /usr/sbin/sshd -D -e -f "$2"';
    const child = spawn(
      "unshare",
      ["--mount", "--propagation", "private", "sh", "-c", script, "sh", directory, config],
      {
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    let printed = "";
    child.stderr.on("data", (data: Buffer) => {
      printed += data.toString();
    });
    for (let waited = 0; !(await answers(port)); waited += 50) {
      if (child.exitCode !== null || waited > 10_000) throw new Error(`sshd did not start: ${printed}`);
      await sleep(50);
    }
    servers.push(child);
    ports.push(port);
  }
  const [port = 0, strictPort = 0] = ports;
  return {
    host: "127.0.0.1",
    user: "root",
    port,
    strictPort,
    keys,
    scratch: join(directory, "scratch"),
    stop: async () => {
      for (const server of servers) {
        const ended = new Promise((resolve) => server.once("exit", resolve));
        if (server.exitCode === null && server.kill("SIGTERM")) await ended;
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The machine's accounts other than root: sshd needs its own for privilege separation. */
function systemUsers(): string {
  return readFileSync("/etc/passwd", "utf8").replace(/^root:.*\n/m, "");
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
