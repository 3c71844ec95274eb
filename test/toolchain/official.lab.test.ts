// Promise: where the vendor's site can be reached, through a proxy and with a company's own certificates, the official
// CLI and plugin are downloaded and used; where it breaks off half-way, the error does not stop the way to a toolchain.
// The site is played by this machine, behind a real proxy and real TLS; what it hands out are the binaries of the build.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtPlaces, isBuilt, nodeDirectory } from "../../infra/toolchain/places.ts";

const built = builtPlaces();
const problem = isBuilt(built) ? undefined : "needs the built toolchain for binaries to hand out (hotpair setup)";
if (problem) console.log(`skipped: the official download: ${problem}`);

describe.skipIf(problem)("the official download", () => {
  let directory: string;
  let site: Server;
  let proxy: Server;
  const asked: string[] = [];
  let pluginIsThere = true;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-vendor-"));
    const inside = (name: string) => join(directory, name);
    const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
    openssl(
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=test authority",
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
    );
    openssl(
      "req",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-subj",
      "/CN=get.pulumi.com",
      "-keyout",
      "site.key",
      "-out",
      "site.csr",
    );
    writeFileSync(inside("names"), "subjectAltName=DNS:get.pulumi.com,DNS:api.github.com,DNS:github.com\n");
    openssl(
      "x509",
      "-req",
      "-in",
      "site.csr",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      "names",
      "-out",
      "site.pem",
    );

    // Archives as the vendor makes them: pulumi/{pulumi,pulumi-language-nodejs}, and the plugin alone.
    mkdirSync(inside("pulumi"));
    for (const file of [built.pulumi, built.languageHost])
      copyFileSync(file, inside(`pulumi/${file.split("/").at(-1)}`));
    execFileSync("tar", ["cf", "sdk.tar", "pulumi"], { cwd: directory });
    execFileSync("tar", ["czf", inside("plugin.tgz"), "-C", dirname(built.plugin), "pulumi-resource-command"]);
    const installer = `#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in --install-root) root=$2; shift;; --version) version=$2; shift;; esac; shift; done
mkdir -p "$root" && cd "$root" || exit 1
curl -fsS -o sdk.tar "https://get.pulumi.com/releases/sdk/pulumi-v$version-linux-x64.tar.gz" || exit 1
tar xf sdk.tar && rm sdk.tar && mv pulumi bin
`;
    const documents = new Map<RegExp, () => Buffer | undefined>([
      [/^\/install\.sh$/, () => Buffer.from(installer)],
      [/^\/releases\/sdk\//, () => readFileSync(inside("sdk.tar"))],
      [
        /^\/releases\/plugins\/pulumi-resource-command-v1\.2\.1-linux-/,
        () => (pluginIsThere ? readFileSync(inside("plugin.tgz")) : undefined),
      ],
    ]);
    site = createHttpsServer(
      { key: readFileSync(inside("site.key")), cert: readFileSync(inside("site.pem")) },
      (request, response) => {
        asked.push(`${request.method} ${request.headers.host}${request.url}`);
        const document = [...documents].find(([path]) => path.test(request.url ?? ""))?.[1]();
        response.writeHead(document ? 200 : 404, { "Content-Length": String(document?.length ?? 0) });
        response.end(request.method === "HEAD" ? undefined : document);
      },
    );
    await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
    proxy = createHttpServer().on("connect", (_request, client: Socket) => {
      const server = connect((site.address() as AddressInfo).port, "127.0.0.1", () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        server.pipe(client).pipe(server);
      });
      for (const socket of [client, server]) socket.on("error", () => {});
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => {
    site?.close();
    proxy?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Finds a toolchain on a machine that has none, in a process of its own: Node reads its certificates at the start. */
  function find(home: string, ...onPath: string[]): Promise<string> {
    const script = `
      import { findToolchain } from "${join(import.meta.dirname, "../../infra/toolchain/find.ts")}";
      try {
        const found = await findToolchain({ onStep: (line) => console.log(line) });
        console.log(found.kind, found.pulumi);
      } catch (error) {
        console.log(error.message);
      }`;
    const authority = join(directory, "ca.pem");
    const environment = {
      HOME: home,
      PULUMI_HOME: join(home, ".pulumi"),
      HOTPAIR_CACHE: join(home, "cache"),
      PATH: [...onPath, "/usr/bin", "/bin"].join(":"),
      HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      NODE_EXTRA_CA_CERTS: authority,
      CURL_CA_BUNDLE: authority,
      SSL_CERT_FILE: authority,
    };
    const child = spawn(join(nodeDirectory, "node"), ["--input-type=module", "-e", script], { env: environment });
    let printed = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => (printed += data.toString()));
    return new Promise((resolve) => child.once("close", () => resolve(printed)));
  }

  test("fetches CLI and plugin through the proxy, uses them, and asks nothing the next time", async () => {
    const home = join(directory, "home");
    mkdirSync(home);
    const said = await find(home);
    expect(said).toContain(`official ${join(home, ".pulumi/versions/3.259.0/bin/pulumi")}`);
    expect(asked[0]).toMatch(/^HEAD get\.pulumi\.com\/releases\/sdk\/pulumi-v3\.259\.0-linux-/);
    expect(asked.join("\n")).toContain("/releases/plugins/pulumi-resource-command-v1.2.1");
    const count = asked.length;
    expect(await find(home)).toBe(`official ${join(home, ".pulumi/versions/3.259.0/bin/pulumi")}\n`);
    expect(asked).toHaveLength(count);
  });

  test("completes a CLI on PATH with the plugin it lacks", async () => {
    const home = join(directory, "home-path");
    mkdirSync(join(home, "bin"), { recursive: true });
    for (const file of [built.pulumi, built.languageHost]) {
      const copy = join(home, "bin", file.split("/").at(-1) ?? "");
      copyFileSync(file, copy);
      chmodSync(copy, 0o755);
    }
    const said = await find(home, join(home, "bin"));
    expect(said).toContain("downloading the command plugin 1.2.1");
    expect(said).toContain(`path ${join(home, "bin/pulumi")}`);
  });

  test("goes on to the build when the download breaks off, saying why", async () => {
    pluginIsThere = false;
    // The CLI of the first test, without its plugin.
    const home = join(directory, "home");
    rmSync(join(home, ".pulumi/plugins"), { recursive: true });
    const said = await find(home);
    pluginIsThere = true;
    expect(said).toMatch(/the official download failed \(.*(404|not found).*\)/i);
    expect(said).toContain("building the Node host and the command plugin");
  });
});
