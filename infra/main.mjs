// Entry of the Pulumi program. Plain JavaScript, so that an old Node answers with one line instead of a stack trace.
const [major] = process.versions.node.split(".").map(Number);
if (major < 24) {
  console.error(
    `hotpair needs Node 24 or newer and was started with ${process.version}; run it as "npx hotpair up" (the project brings its own Node)`,
  );
  process.exit(2);
}
// Each resource takes a stack trace; mapping it to the TypeScript that the SDK was written in costs a tenth of a second.
Error.prepareStackTrace = undefined;
export default (await import("./index.ts")).default;
