// Certificates of a pair's etcd members: a certificate authority of the pair's own, and one certificate per member for
// both sides of TLS. Text in, text out; where the texts are kept is the commands' business.

// First: @peculiar/x509 does not load without it.
import "./reflect.ts";
import * as x509 from "@peculiar/x509";
import type { HostId } from "../model/pair.ts";

/** P-256 is in every TLS library, and its signatures cost a member's processor a tenth of RSA's. */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** Expiry of an inner certificate would stop the pair at a moment that nobody chose; rotation is a command (docs/authority.md). */
const AUTHORITY_DAYS = 7_300;
const MEMBER_DAYS = 3_650;
/** Before its time counts as valid: clocks of servers differ. */
const BACKDATED_MS = DAY_MS;

export interface CertificateAuthority {
  /** PEM. */
  readonly certificate: string;
  /** PKCS #8 in PEM. */
  readonly key: string;
}

export interface MemberCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** `now`: Unix milliseconds. */
export async function newAuthority(pair: string, now: number): Promise<CertificateAuthority> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    // The time tells two authorities of one pair apart while both are trusted.
    name: `CN=hotpair ${pair} ${new Date(now).toISOString().slice(0, 19)}Z`,
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + AUTHORITY_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      // It signs members and no further authority.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: await privateKeyPem(keys.privateKey) };
}

/** Certificate for the member at `address` (IPv4), as server and as client. Rejects when the authority's texts cannot be read. */
export async function newMember(
  authority: CertificateAuthority,
  pair: string,
  member: HostId,
  address: string,
  now: number,
): Promise<MemberCertificate> {
  const issuer = new x509.X509Certificate(authority.certificate);
  const signingKey = await crypto.subtle.importKey("pkcs8", derOf(authority.key), ALGORITHM, false, ["sign"]);
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: `CN=${member}.${pair}`,
    issuer: issuer.subject,
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(Math.min(now + MEMBER_DAYS * DAY_MS, issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "ip", value: address }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false),
    ],
  });
  return { certificate: pem(certificate), key: await privateKeyPem(keys.privateKey) };
}

/** What a person wants to know of a certificate. Throws when the text is none. */
export function describeCertificate(certificate: string): {
  readonly subject: string;
  readonly issuer: string;
  readonly notAfter: Date;
  readonly addresses: readonly string[];
} {
  const parsed = new x509.X509Certificate(certificate);
  const names = parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return {
    subject: parsed.subject,
    issuer: parsed.issuer,
    notAfter: parsed.notAfter,
    addresses: names.flatMap(({ type, value }) => (type === "ip" ? [value] : [])),
  };
}

/** Whether `authority` (PEM) signed `certificate` (PEM). */
export const isSignedBy = async (certificate: string, authority: string): Promise<boolean> =>
  new x509.X509Certificate(certificate).verify({
    publicKey: new x509.X509Certificate(authority).publicKey,
    signatureOnly: true,
  });

const generateKeys = () => crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** 16 random bytes, positive and not zero (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

const pem = (certificate: x509.X509Certificate): string => `${certificate.toString("pem")}\n`;

const privateKeyPem = async (key: CryptoKey): Promise<string> =>
  `${x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), x509.PemConverter.PrivateKeyTag)}\n`;

const derOf = (key: string): ArrayBuffer => x509.PemConverter.decodeFirst(key);
