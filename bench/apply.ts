// First apply and no-op apply of hotpair against a plain Ansible playbook that brings the same files, units and packages
// to the same hosts. Rounds alternate, each on two fresh hosts with the packages present.
// Options: --rounds N (default 3).

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { loadStack } from "../infra/cli/stack.ts";
import type { Lab } from "../infra/lab/lab.ts";
import type { NodePlan } from "../infra/model/plan.ts";
import { text } from "../infra/plan/bundle.ts";
import { planPair } from "../infra/plan/plan.ts";
import { hotpair, median, requireProgram, timed, withLab } from "./lab-pair.ts";

interface Round {
  readonly firstMs: number;
  readonly noopMs: number;
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "3" } } });
  requireProgram("ansible-playbook", "ansible-core");
  const hotpairRounds: Round[] = [];
  const ansibleRounds: Round[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    hotpairRounds.push(await withLab(async () => twice(() => hotpair("up", "-s", "lab", "--yes").milliseconds)));
    report("hotpair", round, hotpairRounds.at(-1));
    ansibleRounds.push(await withLab(async (lab) => withPlaybook(lab, (play) => twice(play))));
    report("ansible", round, ansibleRounds.at(-1));
  }
  const medians = (rounds: readonly Round[]): Round => ({
    firstMs: median(rounds.map((round) => round.firstMs)),
    noopMs: median(rounds.map((round) => round.noopMs)),
  });
  const [ours, theirs] = [medians(hotpairRounds), medians(ansibleRounds)];
  const ratio = { first: ours.firstMs / theirs.firstMs, noop: ours.noopMs / theirs.noopMs };
  console.log(`first apply: ${ratio.first.toFixed(2)} × Ansible's, no-op with policy pack: ${ratio.noop.toFixed(2)} ×`);
  return {
    hotpair: { median: ours, rounds: hotpairRounds },
    ansible: { median: theirs, rounds: ansibleRounds },
    ratio,
  };
}

const twice = (apply: () => number): Round => ({ firstMs: apply(), noopMs: apply() });

const report = (who: string, round: number, measured: Round | undefined): void =>
  console.log(
    `round ${round}, ${who}: first ${measured?.firstMs.toFixed(0)} ms, no-op ${measured?.noopMs.toFixed(0)} ms`,
  );

/** Writes the playbook, its files and its inventory into a directory that goes away afterwards. */
function withPlaybook(lab: Lab, work: (play: () => number) => Round): Round {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-ansible-"));
  try {
    const { pair } = loadStack("lab");
    const plans = planPair(pair);
    const inventory = plans.map((plan) => {
      writeHost(directory, plan);
      const { host } = pair.nodes[plan.node === "a" ? 0 : 1].ssh;
      return `${plan.name} ansible_host=${host} ansible_user=root ansible_ssh_private_key_file=${lab.keyFile} ansible_python_interpreter=/usr/bin/python3`;
    });
    writeFileSync(join(directory, "hosts.ini"), `[pair]\n${inventory.join("\n")}\n`);
    writeFileSync(join(directory, "playbook.yml"), PLAYBOOK);
    const env = {
      ...process.env,
      ANSIBLE_SSH_ARGS:
        "-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
      ANSIBLE_NOCOWS: "1",
    };
    return work(
      () =>
        timed("ansible-playbook", ["-i", join(directory, "hosts.ini"), join(directory, "playbook.yml")], env)
          .milliseconds,
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** One host's planned files as they are, and its variables: what to copy, to install, to run. */
function writeHost(directory: string, plan: NodePlan): void {
  const files = plan.files.map((file) => {
    const source = join(directory, "files", plan.name, file.path);
    mkdirSync(dirname(source), { recursive: true });
    writeFileSync(
      source,
      text(file.content, () => "0".repeat(64)),
    );
    const handler = file.onChange.action === "none" ? [] : [`${file.onChange.action} ${file.onChange.unit}`];
    return { src: source, dest: file.path, owner: file.owner, group: file.group, mode: file.mode, notify: handler };
  });
  const variables = {
    packages: plan.packages,
    files,
    directories: [...new Set(files.map((file) => dirname(file.dest)))],
    units: plan.units.map((unit) => ({ name: unit.name, state: unit.running ? "started" : undefined })),
  };
  mkdirSync(join(directory, "host_vars"), { recursive: true });
  writeFileSync(join(directory, "host_vars", `${plan.name}.json`), JSON.stringify(variables));
}

const PLAYBOOK = `- hosts: pair
  tasks:
    - name: Packages
      ansible.builtin.command: { cmd: "dpkg-query --show {{ packages | join(' ') }}" }
      changed_when: false
    - name: Directories
      ansible.builtin.file: { path: "{{ item }}", state: directory }
      loop: "{{ directories }}"
    - name: Files
      ansible.builtin.copy: { src: "{{ item.src }}", dest: "{{ item.dest }}", owner: "{{ item.owner }}", group: "{{ item.group }}", mode: "{{ item.mode }}" }
      loop: "{{ files }}"
      loop_control: { label: "{{ item.dest }}" }
      register: copied
    - name: Parsers accept
      ansible.builtin.shell: systemd-tmpfiles --create && sysctl --quiet -p /etc/sysctl.d/60-hotpair.conf && keepalived -t && haproxy -c -f /etc/haproxy/haproxy.cfg && nginx -t
      when: copied is changed
    - name: Units
      ansible.builtin.systemd_service: { name: "{{ item.name }}", enabled: true, state: "{{ item.state | default(omit) }}", daemon_reload: "{{ copied is changed }}" }
      loop: "{{ units }}"
      loop_control: { label: "{{ item.name }}" }
    - name: Restart what changed
      ansible.builtin.systemd_service: { name: "{{ item }}", state: restarted }
      loop: "{{ copied.results | selectattr('changed') | map(attribute='item.notify') | flatten | unique | map('split') | map('last') | list }}"
      when: copied is changed
`;
