// Closed-loop client of bench/reload.ts, a process of its own: `HOST PORT COUNT`. Every request on a new connection; one
// that is refused, reset, cut or answered by anything but 200 has failed. Prints one JSON line.

import { connect } from "node:net";

const [host = "", port = "", count = ""] = process.argv.slice(2);
const REQUEST = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
const CONCURRENT = 16;
const DEADLINE_MS = 5_000;

const errors: Record<string, number> = {};
let started = 0;

async function worker(): Promise<void> {
  while (started < Number(count)) {
    started += 1;
    const error = await request();
    if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
  }
}

/** undefined when the answer is a complete 200. */
function request(): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host, port: Number(port) }, () => socket.write(REQUEST));
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error("deadline")));
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("close", () => resolve(verdict(answer)));
  });
}

function verdict(answer: string): string | undefined {
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1];
  if (status !== "200") return status === undefined ? "no answer" : `status ${status}`;
  const length = /content-length: (\d+)/i.exec(head)?.[1];
  return length !== undefined && Number(length) !== body.length ? "cut answer" : undefined;
}

await Promise.all(Array.from({ length: CONCURRENT }, worker));
const failed = Object.values(errors).reduce((sum, number) => sum + number, 0);
console.log(JSON.stringify({ requests: started, failed, errors }));
