// Whether the drills that were kept prove what this configuration promises: is there evidence for every failure class that
// has a target and can be drilled here, did it pass, is it young enough, and was it measured on this configuration. Pure:
// what was kept, and what time it is, is read at the edge (`infra/drill/proof.ts`) and handed in.

import { formatDuration, ms } from "./duration.ts";
import type { Estimate } from "./estimate.ts";
import type { FailureClassId } from "./failure.ts";
import type { Finding } from "./finding.ts";
import { holdsState, type Pair } from "./pair.ts";

/** One kept drill: a scenario, run once or more often on one configuration. */
export interface DrillRecord {
  /** Its place in the history: what has a higher one came later. */
  readonly sequence: number;
  readonly scenario: string;
  readonly failure: FailureClassId;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly configDigest: string;
  /** Of the daemons that were drilled, e.g. `keepalived: 2.3.3`; two where the nodes differed. */
  readonly versions: Readonly<Record<string, string>>;
  readonly runs: number;
  readonly passedRuns: number;
  /** Of the slowest run, milliseconds; null: service did not come back. */
  readonly rtoMaxMs: number | null;
  /** Why it does not count, e.g. that its file is not the one that was recorded; undefined: it counts. */
  readonly distrusted: string | undefined;
}

/** Versions of the daemons that were seen on the servers, by a drill or after an upgrade. */
export interface Sighting {
  readonly sequence: number;
  readonly versions: Readonly<Record<string, string>>;
}

/** What is known of a stack's drills at one moment. Plain JSON. */
export interface Proof {
  readonly stack: string;
  /** ISO 8601: the moment that ages are counted to. */
  readonly asOf: string;
  /** Of the configuration that is judged. */
  readonly configDigest: string;
  /** Scenarios per failure class that apply to this pair and may run outside the lab; a class without any is not demanded. */
  readonly drillable: Readonly<Partial<Record<FailureClassId, readonly string[]>>>;
  /** Oldest first. */
  readonly drills: readonly DrillRecord[];
  /** Besides those of the drills: what upgrades left. */
  readonly sightings: readonly Sighting[];
  /** Why the history as a whole cannot be believed; undefined: it can. */
  readonly broken: string | undefined;
}

export type ClassProof =
  | { readonly failure: FailureClassId; readonly state: "proven"; readonly by: readonly DrillRecord[] }
  /** The newest drill of one of its scenarios failed, or was slower than the target is now. */
  | { readonly failure: FailureClassId; readonly state: "failed"; readonly by: DrillRecord; readonly why: string }
  | { readonly failure: FailureClassId; readonly state: "old"; readonly by: DrillRecord; readonly ageDays: number }
  | { readonly failure: FailureClassId; readonly state: "other configuration"; readonly difference: string }
  | { readonly failure: FailureClassId; readonly state: "missing" }
  /** It has no target, or cannot be drilled here, and nothing was measured. */
  | { readonly failure: FailureClassId; readonly state: "not demanded" };

const DAY_MS = 86_400_000;

/** What the evidence says of every failure class, in the estimates' order. Nothing is proven by a history that is broken. */
export function proofOfClasses(pair: Pair, estimates: readonly Estimate[], proof: Proof): readonly ClassProof[] {
  const counted = proof.broken === undefined ? proof.drills.filter(({ distrusted }) => distrusted === undefined) : [];
  const seen = [...counted, ...proof.sightings];
  return estimates.map((estimate): ClassProof => {
    const { failure } = estimate;
    if (!hasTarget(pair, estimate)) return { failure, state: "not demanded" };
    const own = counted.filter((drill) => drill.failure === failure);
    const here = own.filter((drill) => differenceOf(drill, proof, seen) === undefined);
    const latest = [...new Map(here.map((drill) => [drill.scenario, drill])).values()];
    const target = estimate.rto.verdict === "beyond" ? undefined : estimate.rto.target?.value;
    for (const drill of latest) {
      const why = failureOf(drill, target);
      if (why !== undefined) return { failure, state: "failed", by: drill, why };
    }
    const youngest = latest.toSorted((one, other) => (one.startedAt < other.startedAt ? -1 : 1)).at(-1);
    if (youngest !== undefined) {
      const ageDays = (Date.parse(proof.asOf) - Date.parse(youngest.startedAt)) / DAY_MS;
      if (ageDays * DAY_MS <= pair.evidence.maxAge) return { failure, state: "proven", by: latest };
      if (isDemanded(proof, failure)) return { failure, state: "old", by: youngest, ageDays: Math.floor(ageDays) };
    }
    if (!isDemanded(proof, failure)) return { failure, state: "not demanded" };
    const last = own.at(-1);
    if (last === undefined) return { failure, state: "missing" };
    return { failure, state: "other configuration", difference: differenceOf(last, proof, seen) ?? "" };
  });
}

/** A class that nobody can drill here would never be proven, so nothing is asked of it. */
const isDemanded = ({ drillable }: Proof, failure: FailureClassId): boolean => (drillable[failure]?.length ?? 0) > 0;

/**
 * A target that the estimate compares with something: classes that no setting bounds count only when named. What a pair
 * without state cannot lose needs no proof.
 */
const hasTarget = (pair: Pair, { rto, rpo }: Estimate): boolean =>
  [rto, ...(holdsState(pair) ? [rpo] : [])].some(({ target, verdict }) => target !== undefined && verdict !== "beyond");

function failureOf(drill: DrillRecord, target: number | undefined): string | undefined {
  if (drill.passedRuns < drill.runs) return `${drill.runs - drill.passedRuns} of ${drill.runs} runs failed`;
  if (target === undefined) return undefined;
  if (drill.rtoMaxMs === null) return "service did not come back";
  return drill.rtoMaxMs > target
    ? `service was back after ${formatDuration(ms(Math.round(drill.rtoMaxMs)))}, the target is ${formatDuration(ms(target))}`
    : undefined;
}

/**
 * What is not as it was when the drill ran; undefined: nothing that matters. Whoever saw other versions later outdates it,
 * also when they were seen to be the old ones again: an entry more in the history makes no evidence valid.
 */
function differenceOf(drill: DrillRecord, proof: Proof, seen: readonly Sighting[]): string | undefined {
  if (drill.configDigest !== proof.configDigest)
    return `measured on ${shortDigest(drill.configDigest)}, this is ${shortDigest(proof.configDigest)}`;
  for (const { sequence, versions } of seen) {
    const other = Object.keys(drill.versions).find(
      (name) => versions[name] !== undefined && versions[name] !== drill.versions[name],
    );
    if (sequence > drill.sequence && other !== undefined)
      return `measured with ${other} ${drill.versions[other]}, later it was ${versions[other]}`;
  }
  return undefined;
}

/** The digits that `evidence.beforeDrill.digest` needs at least. */
export const shortDigest = (digest: string): string => digest.slice(0, "sha256:".length + 12);

const AT = "hotpair:pair.evidence";

/** What is not proven, one finding per rule and cause. Empty without a proof: then nobody asked what was kept. */
export function evidenceFindings(
  pair: Pair,
  estimates: readonly Estimate[],
  proof: Proof | undefined,
): readonly Finding[] {
  if (proof === undefined) return [];
  const { enforcement } = pair.evidence;
  const allowed = allowedBeforeDrill(pair, proof);
  const states = proofOfClasses(pair, estimates, proof);
  const of = <State extends ClassProof["state"]>(state: State) =>
    states.filter((each): each is Extract<ClassProof, { state: State }> => each.state === state);
  const drill = (failures: readonly FailureClassId[]): string => {
    const scenarios = failures.flatMap((failure) => proof.drillable[failure]?.[0] ?? []);
    const which = scenarios.length > 0 && scenarios.length <= 3 ? ` --scenario ${scenarios.join(" ")}` : "";
    const first = enforcement === "mandatory" && !allowed ? `${beforeDrill(proof)} ` : "";
    return `${first}run: hotpair drill -s ${proof.stack}${which}`;
  };
  const state = (rule: string, path: string, message: string, fix: string, level = enforcement): Finding => ({
    rule,
    level,
    path,
    message,
    fix,
  });
  // What only a deployment and then a drill can mend may be allowed before that; what failed or cannot be believed, never.
  const undrilled = allowed ? "advisory" : enforcement;
  const verify = `run: hotpair evidence verify -s ${proof.stack}`;
  if (proof.broken !== undefined)
    return [
      state(
        "evidence-trusted",
        AT,
        `no evidence counts: ${proof.broken}`,
        `${verify}; restore it from where it was committed, or move it away and drill again`,
      ),
    ];
  const untrusted = decidingDistrusted(proof);
  const missing = of("missing").map(({ failure }) => failure);
  const other = of("other configuration");
  const old = of("old");
  return [
    ...(untrusted.length === 0
      ? []
      : [
          state(
            "evidence-trusted",
            AT,
            `${untrusted.length === 1 ? "a recorded drill does" : `${untrusted.length} recorded drills do`} not count: ${untrusted[0]?.distrusted}`,
            `${verify}; restore what was changed, or drill again: hotpair drill -s ${proof.stack} --scenario ${[...new Set(untrusted.map(({ scenario }) => scenario))].join(" ")}`,
          ),
        ]),
    ...(missing.length === 0
      ? []
      : [
          state(
            "evidence-present",
            "hotpair:pair.objectives",
            `${classes(missing)} with a target ${missing.length === 1 ? "has" : "have"} no evidence: ${missing.join(", ")}`,
            drill(missing),
            undrilled,
          ),
        ]),
    ...of("failed").map(({ failure, by, why }) =>
      state(
        "evidence-passed",
        "hotpair:pair.objectives",
        `the newest drill of ${failure} (${by.scenario}, ${by.startedAt.slice(0, 10)}) failed: ${why}`,
        `find out why (hotpair report -s ${proof.stack}), then run: hotpair drill -s ${proof.stack} --scenario ${by.scenario}`,
      ),
    ),
    ...(other.length === 0
      ? []
      : [
          state(
            "evidence-matches",
            "hotpair:pair.objectives",
            `the evidence for ${classes(other.map(({ failure }) => failure))} is of another configuration: ` +
              [...Map.groupBy(other, ({ difference }) => difference)]
                .map(([difference, own]) => `${own.map(({ failure }) => failure).join(", ")} (${difference})`)
                .join("; "),
            drill(other.map(({ failure }) => failure)),
            undrilled,
          ),
        ]),
    ...(old.length === 0
      ? []
      : [
          state(
            "evidence-fresh",
            `${AT}.maxAge`,
            `the evidence for ${classes(old.map(({ failure }) => failure))} is older than ${formatDuration(pair.evidence.maxAge)}: ` +
              old.map(({ failure, ageDays }) => `${failure} (${ageDays} days)`).join(", "),
            drill(old.map(({ failure }) => failure)),
            undrilled,
          ),
        ]),
  ];
}

const classes = (failures: readonly FailureClassId[]): string =>
  failures.length === 1 ? "1 failure class" : `${failures.length} failure classes`;

const beforeDrill = ({ configDigest }: Proof): string =>
  `to apply it before it is drilled, set ${AT}.beforeDrill.digest to ${shortDigest(configDigest)} and .until to the last day of that; then`;

/** The stack file names this very configuration, and its last day is not over (UTC). */
function allowedBeforeDrill({ evidence: { beforeDrill } }: Pair, { configDigest, asOf }: Proof): boolean {
  if (beforeDrill === undefined) return false;
  return configDigest.startsWith(beforeDrill.digest) && asOf.slice(0, 10) <= beforeDrill.until;
}

/** Drills of this configuration that do not count, and that no later one of the same scenario has replaced. */
function decidingDistrusted({ drills, configDigest }: Proof): readonly DrillRecord[] {
  const here = drills.filter((drill) => drill.configDigest === configDigest);
  const replaced = (drill: DrillRecord): boolean =>
    here
      .slice(here.indexOf(drill) + 1)
      .some(({ scenario, distrusted }) => scenario === drill.scenario && distrusted === undefined);
  return here.filter((drill) => drill.distrusted !== undefined && !replaced(drill));
}
