// One mistake in a configuration: where it is, and everything its author needs to put it right. Also the way in which
// paths and values are written in messages. What counts as a mistake is decided in schema.ts and rules.ts.

export type Path = readonly PropertyKey[];

export interface Problem {
  /** Path in the input, e.g. `["nodes", 1, "networks", "heartbeat", "address"]`, or `["witness", "address"]`. */
  readonly path: Path;
  /** Value, what is wrong, what is expected, what to do. Never the value of a secret. */
  readonly message: string;
  /** Set when the key itself is the mistake, and not what it says. */
  readonly at?: "key";
}

/** Where a value stands in a stack file; line and column count from 1, as editors do. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Finds the place of a path; for a path that is not in the file, the nearest thing around it. */
export type Locate = (path: Path, at?: "key") => Place | undefined;

export const CONFIG_KEY = "hotpair:pair";

/** Parts of the input that stand under keys of their own beside the pair: `hotpair:witness`, `hotpair:fencing`, … */
export const APART = ["witness", "fencing", "drbd", "volumes", "aws"] as const;

/** The key of the stack's configuration that a path of the input stands under, and the rest of it. */
export function placeOf(path: Path): { readonly key: string; readonly below: Path } {
  const apart = APART.find((name) => name === path[0]);
  return apart === undefined ? { key: CONFIG_KEY, below: path } : { key: `hotpair:${apart}`, below: path.slice(1) };
}

/** `nodes[1].networks.heartbeat.address`: the way in which Pulumi writes paths into structured configuration. */
export function formatPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      const name = String(part);
      if (!/^[A-Za-z_][\w-]*$/.test(name)) return `[${JSON.stringify(name)}]`;
      return index === 0 ? name : `.${name}`;
    })
    .join("");
}

/** The other way round, for paths without quoted names: `nodes[0].ssh.key`. */
export const parsePath = (text: string): Path =>
  text.split(/[.[\]]+/).flatMap((part) => (part === "" ? [] : [/^\d+$/.test(part) ? Number(part) : part]));

/** A path of the input as its author wrote it: `hotpair:pair.vips[0].name`, `hotpair:witness.address`. */
export const configPath = (path: Path): string => {
  const { key, below } = placeOf(path);
  const text = formatPath(below);
  return text === "" || text.startsWith("[") ? `${key}${text}` : `${key}.${text}`;
};

export function formatProblem(problem: Problem, locate?: Locate): string {
  const place = locate?.(problem.path, problem.at);
  const where = place === undefined ? "" : ` (${place.file}:${place.line}:${place.column})`;
  return `${configPath(problem.path)}: ${problem.message}${where}`;
}

/** A value as messages quote it. Long texts and private keys are described: they may be secrets in the wrong place. */
export function show(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "secure" in value ? "an encrypted value" : "a map of keys";
  if (typeof value === "string" && looksLikePrivateKey(value)) return "a private key (not shown)";
  if (typeof value === "string" && value.length > 60) return `a text of ${value.length} characters`;
  return JSON.stringify(value) ?? "nothing";
}

export const looksLikePrivateKey = (text: string): boolean => /-----BEGIN [A-Z ]*PRIVATE KEY/.test(text);

/** The known name that a misspelt one was probably meant to be: at most a third of its letters differ. */
export function suggest(misspelt: string, known: Iterable<string>): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(misspelt.toLowerCase(), name.toLowerCase());
    if (distance <= Math.max(1, Math.floor(name.length / 3)) && (best === undefined || distance < best.distance))
      best = { name, distance };
  }
  return best?.name;
}

/** Damerau-Levenshtein distance (optimal string alignment): a swapped pair of letters counts as one mistake. */
function editDistance(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1])
        cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[other.length] ?? 0;
}
