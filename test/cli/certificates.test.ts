// Certificates as another implementation reads them: Node's own X.509 (OpenSSL), and TLS between two ends.

import { X509Certificate } from "node:crypto";
import { connect, createServer } from "node:tls";
import { expect, test } from "vitest";
import { describeCertificate, isSignedBy, newAuthority, newMember } from "../../infra/cli/certificates.ts";

const NOW = Date.UTC(2026, 10, 20, 12);
const authority = await newAuthority("shop", Date.now());
const member = await newMember(authority, "shop", "a", "127.0.0.1", Date.now());

test("an authority signs members and nothing below them, for longer than they last", async () => {
  const dated = await newAuthority("shop", NOW);
  const ca = new X509Certificate(dated.certificate);
  expect(ca.ca).toBe(true);
  expect(ca.verify(ca.publicKey)).toBe(true);
  expect(ca.subject).toBe("CN=hotpair shop 2026-11-20T12:00:00Z");
  expect(ca.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  const issued = new X509Certificate((await newMember(dated, "shop", "b", "198.18.0.12", NOW)).certificate);
  expect(Date.parse(issued.validTo)).toBeLessThan(Date.parse(ca.validTo));
  expect(Date.parse(issued.validFrom)).toBeLessThan(NOW);
});

test("a member's certificate is for its address, as server and as client", () => {
  const certificate = new X509Certificate(member.certificate);
  expect(certificate.ca).toBe(false);
  expect(certificate.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
  expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(certificate.checkIP("198.18.0.13")).toBeUndefined();
  expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  expect(describeCertificate(member.certificate)).toMatchObject({ subject: "CN=a.shop", addresses: ["127.0.0.1"] });
});

test("no two certificates have the same number", async () => {
  const other = await newMember(authority, "shop", "b", "198.18.0.12", Date.now());
  const numbers = [authority, member, other].map(({ certificate }) => new X509Certificate(certificate).serialNumber);
  expect(new Set(numbers).size).toBe(3);
});

test("whose certificate it is can be told, also between two authorities of one pair", async () => {
  expect(await isSignedBy(member.certificate, authority.certificate)).toBe(true);
  expect(await isSignedBy(member.certificate, (await newAuthority("shop", Date.now())).certificate)).toBe(false);
});

test("two members speak with each other; who has a certificate of another authority is not heard", async () => {
  const trust = { ca: authority.certificate, cert: member.certificate, key: member.key };
  const server = createServer({ ...trust, requestCert: true, rejectUnauthorized: true }, (socket) =>
    socket.end("heard"),
  );
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const say = (options: object): Promise<string> =>
    new Promise((resolve) => {
      let said = "";
      const socket = connect({ port, host: "127.0.0.1", ...options });
      socket.on("data", (chunk) => {
        said += chunk;
      });
      socket.once("error", () => resolve("refused"));
      socket.once("close", () => resolve(said));
    });
  const stranger = await newAuthority("shop", Date.now());
  const strange = await newMember(stranger, "shop", "a", "127.0.0.1", Date.now());
  try {
    expect(await say(trust)).toBe("heard");
    expect(await say({ ca: authority.certificate, cert: strange.certificate, key: strange.key })).not.toBe("heard");
    expect(await say({ ...trust, ca: stranger.certificate })).toBe("refused");
  } finally {
    server.close();
  }
});
