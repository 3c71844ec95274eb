// The drills' own lab: its name, and the pair in it.

export { pairUp, settingsOf } from "../../infra/cli/lab-pair.ts";

export const LAB = "drl";
