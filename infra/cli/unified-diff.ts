// The difference between two texts in the form that everybody reads: `diff -u`.

/** Lines of context around a change, as in diff -u. */
const CONTEXT = 3;

type Edit = readonly [mark: " " | "-" | "+", line: string];

/** Hunks of a unified diff without its two header lines; empty when the texts are equal. */
export function unifiedDiff(before: string, after: string): readonly string[] {
  if (before === after) return [];
  const edits = editsBetween(linesOf(before), linesOf(after));
  const out: string[] = [];
  for (const [from, to] of hunksOf(edits)) {
    const hunk = edits.slice(from, to);
    const count = (marks: string, until: readonly Edit[]) => until.filter(([mark]) => marks.includes(mark)).length;
    const place = (marks: string) => {
      const lines = count(marks, hunk);
      const start = count(marks, edits.slice(0, from)) + (lines === 0 ? 0 : 1);
      return lines === 1 ? `${start}` : `${start},${lines}`;
    };
    out.push(`@@ -${place(" -")} +${place(" +")} @@`, ...hunk.map(([mark, line]) => `${mark}${line}`));
  }
  return out;
}

/** A missing newline at the end is a difference too; it is marked the way diff does. */
function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") return lines.slice(0, -1);
  return [...lines.slice(0, -1), `${lines.at(-1)}\n\\ No newline at end of file`];
}

function editsBetween(before: readonly string[], after: readonly string[]): Edit[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail++;
  const same = (line: string): Edit => [" ", line];
  return [
    ...before.slice(0, head).map(same),
    ...middleEdits(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ];
}

/** By the longest common subsequence. The files that hotpair writes have hundreds of lines, not millions. */
function middleEdits(before: readonly string[], after: readonly string[]): Edit[] {
  const width = after.length + 1;
  // length[i * width + j]: longest common subsequence of before[i…] and after[j…].
  const length = new Uint32Array((before.length + 1) * width);
  const at = (i: number, j: number): number => length[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      length[i * width + j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));

  const edits: Edit[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    const [left, right] = [before[i], after[j]];
    if (left !== undefined && left === right) {
      edits.push([" ", left]);
      i++;
      j++;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      edits.push(["-", left]);
      i++;
    } else if (right !== undefined) {
      edits.push(["+", right]);
      j++;
    }
  }
  return edits;
}

/** Ranges of edits that are shown: every change with its context, ranges that touch joined. */
function hunksOf(edits: readonly Edit[]): [from: number, to: number][] {
  const hunks: [number, number][] = [];
  edits.forEach(([mark], index) => {
    if (mark === " ") return;
    const from = Math.max(0, index - CONTEXT);
    const to = Math.min(edits.length, index + CONTEXT + 1);
    const last = hunks.at(-1);
    if (last && from <= last[1]) last[1] = to;
    else hunks.push([from, to]);
  });
  return hunks;
}
