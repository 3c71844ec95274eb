// A lab host as the tests of the apply transaction see it: apply a plan, interrupt it at a named point, and say in one
// text what the server is like, so that "as it was before" is one comparison.

import { execFile } from "node:child_process";
import { type HostName, hostOf, type Lab } from "../../infra/lab/lab.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand, type RemoveOptions, removeCommand } from "../../infra/plan/commands.ts";
import { type RunResult, run, type SshTarget, sshArguments } from "../../infra/ssh/run.ts";
import { SECRET } from "./app-plan.ts";

export interface Outcome extends RunResult {
  /** Both streams, in which a person would read them. */
  readonly text: string;
}

export class Server {
  readonly target: SshTarget;

  readonly #secret: string;

  /** `secret` is what every secret of a plan is here. */
  constructor(lab: Lab, host: HostName, { secret = SECRET, user = "root" } = {}) {
    this.target = { ...hostOf(lab, host).ssh, user };
    this.#secret = secret;
  }

  async sh(command: string, input = ""): Promise<Outcome> {
    const result = await run(this.target, command, { input, timeoutMs: 90_000 });
    return { ...result, text: result.stdout + result.stderr };
  }

  async ok(command: string): Promise<string> {
    const { code, text } = await this.sh(command);
    if (code !== 0) throw new Error(`${command} ended with exit code ${code}:\n${text}`);
    return text;
  }

  apply(plan: NodePlan, owner: string | undefined = "owner-1"): Promise<Outcome> {
    return this.sh(
      applyCommand(owner),
      makeBundle(plan, () => this.#secret),
    );
  }

  remove(owner = "owner-1", options: RemoveOptions = {}): Promise<Outcome> {
    return this.sh(removeCommand(owner, options));
  }

  /** Starts an apply over an SSH connection of its own, which can be cut. */
  applyDetached(plan: NodePlan): { readonly cut: () => void; readonly ended: Promise<void> } {
    const shared = sshArguments(this.target);
    const own = shared.map((word, i) => (shared[i - 1] === "-S" ? "none" : word));
    const child = execFile("ssh", [...own, applyCommand("owner-1")]);
    const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
    child.stdin?.end(makeBundle(plan, () => this.#secret));
    return { cut: () => child.kill("SIGKILL"), ended };
  }

  /** Lines `kill POINT`, `pause POINT` and switches; none: no interruption. */
  async hooks(...lines: readonly string[]): Promise<void> {
    const file = "/run/hotpair/test-hooks";
    await this.ok("rm -f /run/hotpair/paused");
    await this.ok(
      lines.length === 0
        ? `rm -f ${file}; rmdir /run/hotpair 2>/dev/null || :`
        : `mkdir -p /run/hotpair && echo '${lines.join("\n")}' >${file}.new && mv ${file}.new ${file}`,
    );
  }

  /** Waits until an apply stands still at a `pause`d point. */
  async paused(at: string): Promise<void> {
    const there = `[ "$(cat /run/hotpair/paused 2>/dev/null)" = ${at} ]`;
    await this.ok(
      `i=0; until ${there}; do i=$((i + 1)); [ $i -lt 400 ] || exit 1; sleep 0.05; done; rm /run/hotpair/paused`,
    );
  }

  /**
   * Every file and directory that an apply could touch, with owner, mode and digest; what runs; what a client gets.
   * The books say when something was applied, and keep originals of interrupted attempts: neither is a difference.
   */
  async state(): Promise<string> {
    return this.ok(
      [
        "cd /; for d in etc usr/lib/hotpair var/lib/hotpair; do",
        "[ ! -e $d ] || find $d -path var/lib/hotpair/originals -prune -o -printf '%p %y %m %u:%g %l\\n'; done | sort",
        "find etc/app etc/nginx etc/haproxy etc/sysctl.d etc/systemd etc/motd usr/lib/hotpair -type f 2>/dev/null | sort | xargs sha256sum",
        "grep -v '^applied ' var/lib/hotpair/manifest 2>/dev/null",
        "cut -d ' ' -f 2 /proc/sys/net/ipv4/ip_nonlocal_bind",
        "for u in nginx haproxy app hotpair-undo.service hotpair-undo.timer; do echo $u $(systemctl show $u -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload); done",
        "curl -s -m 1 http://127.0.0.1:8080/ || echo no answer",
      ].join("\n"),
    );
  }
}
