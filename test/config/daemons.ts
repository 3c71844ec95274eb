// The daemons' own parsers, from the image that lab hosts start with (the versions that the product is for), run over many
// rendered configurations in one go: in a network namespace with every interface that a configuration names, on top of an
// overlay, so that nothing of it reaches this machine.

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ensureImage } from "../../infra/lab/image.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { CERTIFICATES, PROGRAMS } from "./arbitrary.ts";

const PARSERS = ["keepalived", "haproxy", "nginx"];

export interface Refusal {
  /** Index of the plan. */
  readonly plan: number;
  readonly parser: string;
  readonly output: string;
}

export interface Verdicts {
  /** How often each parser accepted a configuration. */
  readonly accepted: Readonly<Record<string, number>>;
  readonly refused: readonly Refusal[];
}

/**
 * Asks keepalived -t, haproxy -c and nginx -t about the files of every plan, on a host that has these interfaces.
 * `textOf` makes a file's text of its content.
 */
export async function askParsers(
  plans: readonly NodePlan[],
  interfaces: ReadonlySet<string>,
  textOf: (content: NodePlan["files"][number]["content"]) => string,
): Promise<Verdicts> {
  const image = await ensureImage("ready");
  const work = mkdtempSync(join(tmpdir(), "hotpair-parsers-"));
  try {
    for (const [index, plan] of plans.entries())
      for (const file of plan.files) {
        if (!PARSERS.some((parser) => file.path.startsWith(`/etc/${parser}/`))) continue;
        const path = join(work, "upper/cases", String(index), file.path.slice("/etc/".length));
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, textOf(file.content));
      }
    await prepare(join(work, "upper"));
    writeFileSync(join(work, "ask.sh"), SCRIPT, { mode: 0o755 });
    const workers = Math.min(2, availableParallelism());
    await Promise.all(
      Array.from({ length: workers }, (_, worker) =>
        promisify(execFile)(
          "unshare",
          [
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            join(work, "ask.sh"),
            image,
            work,
            String(worker),
            String(workers),
            String(plans.length),
            [...interfaces].join(" "),
          ],
          { maxBuffer: 64 * 1024 * 1024 },
        ),
      ),
    );
    return verdicts(
      Array.from({ length: workers }, (_, worker) => readFileSync(join(work, `verdicts.${worker}`), "utf8")),
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What a configuration may name and a server would have: programs, certificates. */
async function prepare(root: string): Promise<void> {
  const key = join(dirname(root), "key.pem");
  const certificate = join(dirname(root), "certificate.pem");
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", "/CN=pair.example.net", "-keyout", key, "-out", certificate],
  ]);
  const pem = readFileSync(certificate, "utf8") + readFileSync(key, "utf8");
  for (const [paths, text, mode] of [
    [PROGRAMS, "#!/bin/sh\n", 0o755],
    [CERTIFICATES, pem, 0o600],
  ] as const)
    for (const path of paths) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text, { mode });
    }
}

// POSIX sh. Arguments: image, work directory, this worker's number, workers, cases, interfaces. Each verdict is one line
// `CASE PARSER RC`, followed by the parser's output, indented, when it refused. haproxy -c resolves the file's own paths;
// nginx -t binds, which net.ipv4.ip_nonlocal_bind allows on a server and here.
const SCRIPT = `set -eu
image=$1 work=$2 worker=$3 workers=$4 cases=$5 interfaces=$6
root=$work/root.$worker
mkdir -p "$root" "$work/over.$worker" "$work/work.$worker"
mount --make-rprivate /
cp -a "$work/upper/." "$work/over.$worker/"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$work/over.$worker,workdir=$work/work.$worker" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/run/haproxy" "$root/run/hotpair" "$root/var/log/nginx"
: > "$root/run/nginx.pid"
ip link set lo up
for name in $interfaces; do ip link add name "$name" type bridge && ip link set "$name" up; done
echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
cat > "$root/ask" <<'END'
worker=$1 workers=$2 cases=$3
verdict() {
  parser=$1; shift
  if output=$(timeout 20 setsid --wait "$@" 2>&1 </dev/null); then rc=0; else rc=$?; fi
  echo "$case $parser $rc"
  [ $rc -eq 0 ] || echo "$output" | sed 's/^/  /'
}
case=$worker
while [ "$case" -lt "$cases" ]; do
  cd /cases/$case 2>/dev/null && {
    [ -e keepalived/keepalived.conf ] && verdict keepalived keepalived -t -f /cases/$case/keepalived/keepalived.conf
    [ -e haproxy/haproxy.cfg ] && verdict haproxy haproxy -c -q -f /cases/$case/haproxy/haproxy.cfg
    [ -e nginx/nginx.conf ] && {
      rm -rf /etc/nginx/nginx.conf /etc/nginx/conf.d
      cp -r nginx/. /etc/nginx/
      verdict nginx nginx -t -q
    }
  }
  case=$((case + workers))
done
END
chroot "$root" sh /ask "$worker" "$workers" "$cases" > "$work/verdicts.$worker"
`;

function verdicts(texts: readonly string[]): Verdicts {
  const accepted: Record<string, number> = {};
  const refused: { plan: number; parser: string; output: string }[] = [];
  for (const line of texts.join("").split("\n")) {
    const match = /^(\d+) (\w+) (\d+)$/.exec(line);
    const last = refused.at(-1);
    if (match?.[2] === undefined) {
      if (last !== undefined && line !== "") last.output += `${line.trim()}\n`;
    } else if (match[3] === "0") accepted[match[2]] = (accepted[match[2]] ?? 0) + 1;
    else refused.push({ plan: Number(match[1]), parser: match[2], output: `exit code ${match[3]}\n` });
  }
  return { accepted, refused };
}
