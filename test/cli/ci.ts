// The commands of examples/ci as their CI system would hand them to a shell, one entry per file.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

const FOLDER = join(import.meta.dirname, "../../examples/ci");
const read = (name: string): string => readFileSync(join(FOLDER, name), "utf8");

interface Steps {
  readonly steps: readonly { readonly run?: string }[];
}

const github = Object.values((parse(read("github-actions.yml")) as { jobs: Record<string, Steps> }).jobs);
const gitlab = Object.values(
  parse(read("gitlab-ci.yml")) as Record<string, { script: readonly string[]; after_script?: readonly string[] }>,
);

export const CI_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  "github-actions.yml": github.flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? [])),
  "gitlab-ci.yml": gitlab.flatMap(({ script, after_script = [] }) => [...script, ...after_script]),
  Jenkinsfile: [...read("Jenkinsfile").matchAll(/^\s*sh '([^']+)'$/gm)].map(([, command = ""]) => command),
};
