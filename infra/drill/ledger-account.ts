// The ledger's place in the database, for the duration of a drill: a table, and an account that may do nothing but insert
// into it. Texts for `sh -s` on a server, pure; the client over the local socket is root, and SQL reaches it on standard
// input, so that no password stands in an argument.

import { createHash } from "node:crypto";
import { LEDGER_DATABASE, LEDGER_TABLE } from "./ledger.ts";

export const LEDGER_USER = "hotpair_drill";

/** A text of hotpair's settings of the database. */
const setting = (name: string): string =>
  `$(sed -n 's/.*"${name}": *"\\([^"]*\\)".*/\\1/p' /etc/hotpair/mariadb.json 2>/dev/null)`;
/** MariaDB's client as root over the local socket that hotpair's settings name, for statements on standard input. */
const CLIENT = `timeout 15 mariadb --batch --skip-column-names --connect-timeout=5 \${socket:+"--socket=$socket"}`;

/** Statements only where this server takes writes: on a replica they would make its data differ from the primary's. */
const onPrimary = (statements: readonly string[]): string =>
  [
    "DELIMITER //",
    "BEGIN NOT ATOMIC IF @@global.read_only = 0 THEN",
    ...statements.map((one) => `${one};`),
    "END IF; END//",
  ].join("\n");

/**
 * A server on a volume runs on the active node alone, by a unit that the settings name: where that rests there is nothing to do.
 */
const feed = (sql: string): string => `socket=${setting("socket")}
unit=${setting("unit")}
case "\${unit:+$(systemctl show --property=ActiveState --value "$unit")}" in
inactive | failed) ;;
*) ${CLIENT} <<'HOTPAIR_SQL'
${sql}
HOTPAIR_SQL
;;
esac
`;

/**
 * `password`: hexadecimal digits. `from`: IPv4 network and mask, as in `198.18.0.0/255.255.255.0`: the nodes themselves,
 * since clients come by their HAProxy. Without unique keys on purpose: a write that happened twice must be able to show.
 * Prints `made` on the primary, nothing elsewhere.
 */
export const makeLedger = (password: string, from: string): string =>
  feed(
    onPrimary([
      ...dropStatements,
      `CREATE DATABASE ${LEDGER_DATABASE}`,
      `CREATE TABLE ${LEDGER_DATABASE}.${LEDGER_TABLE} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, client INT UNSIGNED NOT NULL, number BIGINT UNSIGNED NOT NULL, server VARCHAR(255) NOT NULL) ENGINE=InnoDB`,
      `CREATE USER '${LEDGER_USER}'@'${from}' IDENTIFIED BY PASSWORD '${passwordHash(password)}'`,
      `GRANT INSERT ON ${LEDGER_DATABASE}.${LEDGER_TABLE} TO '${LEDGER_USER}'@'${from}'`,
      "SELECT 'made'",
    ]),
  );

/** As mysql_native_password keeps it: a statement stands in the binary log, where everybody may read who has a backup. */
function passwordHash(password: string): string {
  const once = createHash("sha1").update(password).digest();
  return `*${createHash("sha1").update(once).digest("hex").toUpperCase()}`;
}

/** Accounts of earlier drills from any address, and the database with everything in it. */
const dropStatements: readonly string[] = [
  `FOR one IN (SELECT User, Host FROM mysql.user WHERE User = '${LEDGER_USER}') DO EXECUTE IMMEDIATE CONCAT('DROP USER ', QUOTE(one.User), '@', QUOTE(one.Host)); END FOR`,
  `DROP DATABASE IF EXISTS ${LEDGER_DATABASE}`,
];

/** Idempotent; does nothing on a replica, fails where the server does not answer. */
export const removeLedger: string = feed(onPrimary(dropStatements));

/** `ON` or `OFF` for read_only, then the rows as tab-separated lines (ledger-check.ts), ending with a line `end`. */
export const readLedger: string = feed(
  `SELECT IF(@@global.read_only, 'ON', 'OFF');\nSELECT id, client, number, server FROM ${LEDGER_DATABASE}.${LEDGER_TABLE} ORDER BY id;\nSELECT 'end';`,
);

/** What `readLedger` printed: undefined when it is not all there. */
export function readLedgerAnswer(text: string): { readonly primary: boolean; readonly rows: string } | undefined {
  const lines = text.trimEnd().split("\n");
  if (lines.at(-1) !== "end" || (lines[0] !== "ON" && lines[0] !== "OFF")) return undefined;
  return { primary: lines[0] === "OFF", rows: lines.slice(1, -1).join("\n") };
}

/** Network and mask of an address with prefix length, as MariaDB has them in an account name. */
export function accountNetwork(prefix: string): string {
  const [address = "", length = "32"] = prefix.split("/");
  const bits = Number(length);
  const octets = address.split(".").map(Number);
  const mask = [0, 1, 2, 3].map((index) => 256 - 2 ** (8 - Math.min(8, Math.max(0, bits - 8 * index))));
  return `${octets.map((octet, index) => octet & (mask[index] ?? 0)).join(".")}/${mask.join(".")}`;
}
