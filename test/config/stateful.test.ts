// A pair that keeps data, as it is written: what it means, every way in which it can be wrong, and the exact words about it.

import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import {
  readInput,
  readPair,
  readStack,
  secretPaths,
  secretStates,
  secretsOf,
  withPlaceholders,
} from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import {
  asDecrypted,
  asWritten,
  CERTIFICATE,
  type Input,
  mistakesAfter,
  mistakesIn,
  mistakesWithData,
  statefulInput,
} from "./sample.ts";

const FILE = "stacks/Pulumi.ledger.yaml";
const read = (input: Input) => readPair(input, { stack: "lab", locate: () => undefined });

const textOf = (input: Input): string => stringify({ config: asWritten(JSON.parse(JSON.stringify(input))) });

/** As the engine hands it over: decrypted, keys sorted. */
function inEngine(input: Input): (key: string) => unknown {
  const sorted = (value: Input): Input =>
    typeof value !== "object" || value === null || Array.isArray(value)
      ? Array.isArray(value)
        ? value.map(sorted)
        : value
      : Object.fromEntries(
          Object.keys(value)
            .sort()
            .map((key) => [key, sorted(value[key])]),
        );
  const parts = sorted(asWritten(asDecrypted(input)));
  return (key) => parts[`hotpair:${key}`];
}

test("the engine's objects and the stack file give the same Pair to the byte", () => {
  const { pair } = readStack(textOf(statefulInput()), FILE, "lab");
  const engine = readInput(inEngine(statefulInput()));
  expect(JSON.stringify(readPair(engine, { stack: "lab" }))).toBe(JSON.stringify(pair));
  expect(pair).toEqual(JSON.parse(JSON.stringify(pair)));
});

test("every secret is a reference, and its value is found by it", () => {
  const input = readInput(inEngine(statefulInput()));
  const pair = readPair(input, { stack: "lab" });
  const values = secretsOf(input);
  expect(secretPaths(pair)).toEqual([
    "beaconKey",
    "authority.caKey",
    "authority.members.a.key",
    "authority.members.b.key",
    "authority.members.witness.key",
    "mariadb.replicationPassword",
    "fencing.agents[1].secrets.password",
    "fencing.agents[0].secrets.password",
  ]);
  expect([...values.keys()].sort()).toEqual([...secretPaths(pair)].sort());
  for (const value of values.values()) expect(JSON.stringify(pair)).not.toContain(JSON.stringify(value).slice(1, -1));
});

test("defaults, units and names become numbers, bytes and references", () => {
  const { authority, mariadb, witness, fencing, haproxy, nodes } = read(statefulInput());
  expect(authority?.etcd).toEqual({
    clientPort: 2379,
    peerPort: 2380,
    heartbeat: 50,
    election: 300,
    quota: 64 * 2 ** 20,
  });
  expect(authority?.lease).toEqual({
    renewal: 100,
    rpcTimeout: 200,
    deadline: 800,
    takeover: 1_500,
    watchdog: 800,
    stopTimeout: 200,
    drift: 0.001,
    margin: 50,
  });
  expect(mariadb).toEqual({
    port: 3306,
    rolePort: 9200,
    dataDirectory: "/var/lib/mysql",
    bufferPool: 128 * 2 ** 20,
    redoLog: 96 * 2 ** 20,
    maxConnections: 151,
    replicationNetwork: "storage",
    replicaReads: undefined,
    adopt: false,
    replicationPassword: { secret: "mariadb.replicationPassword" },
    previousReplicationPassword: undefined,
  });
  expect(witness).toMatchObject({
    name: "witness",
    site: "room-3",
    address: "198.18.0.13",
    ssh: { port: 22, user: "root" },
  });
  expect(nodes.map(({ site }) => site)).toEqual(["room-1", "room-2"]);
  expect(fencing).toEqual({
    agents: {
      a: {
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.11", password: { secret: "fencing.agents[1].secrets.password" }, username: "fence" },
      },
      b: {
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.12", password: { secret: "fencing.agents[0].secrets.password" }, username: "fence" },
      },
    },
    timeout: 20_000,
    required: false,
  });
  expect(haproxy?.backends[0]).toMatchObject({
    mode: "tcp",
    role: "primary",
    servers: [
      { name: "node-a", address: "198.18.0.11", port: 3306 },
      { name: "node-b", address: "198.18.0.12", port: 3306 },
    ],
    check: { path: undefined },
  });
});

test("without a storage network replication uses the heartbeat", () => {
  const input = statefulInput();
  delete input.networks.storage;
  for (const node of input.nodes) delete node.networks.storage;
  expect(read(input).mariadb?.replicationNetwork).toBe("heartbeat");
});

test("a target for a failure that only pairs with data have", () => {
  const target = { rto: { "lease-loss": "5s" }, rpo: { default: "0s" } };
  expect(
    mistakesWithData((input) => {
      input.objectives = target;
    }),
  ).toEqual([]);
  expect(
    mistakesAfter((input) => {
      input.objectives = target;
    }),
  ).toEqual([
    "hotpair:pair.objectives.rto.lease-loss: is a target for a failure that only a pair that keeps data can have; this pair keeps none, remove it",
  ]);
});

test("the defaults have no mandatory finding", () => {
  const mandatory = collectFindings(read(statefulInput())).filter(({ level }) => level === "mandatory");
  expect(mandatory.filter(({ rule }) => rule !== "rto-within-target")).toEqual([]);
});

test("a pair with data and no witness can be read, so that the policy can refuse it", () => {
  const { witness: _, fencing: __, authority: ___, ...input } = statefulInput();
  expect(collectFindings(read(input))).toContainEqual(expect.objectContaining({ rule: "state-has-witness" }));
});

test("before its certificates and passwords are made, everything else can be checked", () => {
  const input = statefulInput();
  delete input.authority;
  delete input.mariadb.replicationPassword;
  delete input.witness.ssh.hostKey;
  expect(read(withPlaceholders(input)).authority?.lease.takeover).toBe(1_500);
  expect(
    secretStates(input)
      .filter(({ state }) => state === "missing")
      .map(({ path }) => path),
  ).toEqual([
    "authority.caKey",
    "authority.members.a.key",
    "authority.members.b.key",
    "authority.members.witness.key",
    "mariadb.replicationPassword",
  ]);
});

describe("mistakes are named where their author wrote them", () => {
  const mistakes = (change: (input: Input) => void): readonly string[] => {
    const input = statefulInput();
    change(input);
    return mistakesIn(() => readStack(textOf(input), FILE, "lab"));
  };

  test("with the key, the path and the line", () => {
    const found = mistakes((input) => {
      input.witness.address = "198.18.0.300";
      input.fencing.agents[0].node = "node-c";
      input.authority.lease = { takeover: 2 };
    });
    expect(found).toEqual([
      expect.stringMatching(
        /^hotpair:pair\.authority\.lease\.takeover: 2 is not a duration .* \(stacks\/Pulumi\.ledger\.yaml:\d+:\d+\)$/,
      ),
      expect.stringMatching(
        /^hotpair:witness\.address: "198\.18\.0\.300" is not an IPv4 address; .* \(stacks\/Pulumi\.ledger\.yaml:\d+:\d+\)$/,
      ),
      expect.stringMatching(
        /^hotpair:fencing\.agents\[0\]\.node: "node-c" is not a node; did you mean "node-[ab]"\? \(stacks\/Pulumi\.ledger\.yaml:\d+:\d+\)$/,
      ),
    ]);
    const line =
      textOf({ ...statefulInput() })
        .split("\n")
        .findIndex((each) => each.includes("address: 198.18.0.13")) + 1;
    expect(
      mistakes((input) => {
        input.witness.address = "no";
      })[0],
    ).toContain(`(${FILE}:${line}:`);
  });

  test("a witness inside the pair is sent out of it, by the file's reader and by the engine's", () => {
    const text = textOf(statefulInput()).replace("hotpair:pair:\n", "hotpair:pair:\n    witness: {}\n");
    const expected = "hotpair:pair.witness: stands beside the pair, not in it; move it to hotpair:witness";
    expect(mistakesIn(() => readStack(text, FILE, "lab"))).toEqual([`${expected} (${FILE}:3:5)`]);
    expect(mistakesIn(() => readInput((key) => (key === "pair" ? { witness: {} } : undefined)))).toEqual([expected]);
    expect(() => readInput(() => undefined)).toThrow(UserError);
  });

  test("a misspelt key beside the pair", () => {
    const text = textOf(statefulInput()).replace("hotpair:witness:", "hotpair:witnes:");
    expect(mistakesIn(() => readStack(text, FILE, "lab"))[0]).toMatch(
      /^hotpair:witnes: is not a key that hotpair reads; did you mean "hotpair:witness"\? \(/,
    );
  });
});

const CASES: Record<string, [change: (input: Input) => void, expected: readonly string[]]> = {
  "an authority without a witness": [
    (input) => {
      delete input.witness;
      delete input.fencing;
    },
    [
      "hotpair:witness: is missing: hotpair:pair.authority is described, and two members cannot outvote each other; describe a third host, or remove authority",
    ],
  ],
  "a witness without an authority": [
    (input) => delete input.authority,
    [
      "hotpair:pair.authority: is missing: hotpair:witness is described, and its member needs certificates; make them with `hotpair authority init`",
    ],
  ],
  "fencing without a witness": [
    (input) => {
      delete input.witness;
      delete input.authority;
    },
    [
      "hotpair:fencing: stands without hotpair:witness: only the holder of the lease may shoot, and without a witness there is no lease; describe a witness, or remove it",
    ],
  ],
  "a witness with a node's name": [
    (input) => {
      input.witness.name = "node-b";
    },
    ['hotpair:witness.name: "node-b" is the name of nodes[1] too; give it its own'],
  ],
  "a witness that nobody can reach": [
    (input) => {
      input.witness.address = "127.0.0.1";
    },
    [
      'hotpair:witness.address: "127.0.0.1" is no address that another host can reach (RFC 6890); write the witness\'s own',
    ],
  ],
  "nothing where a witness belongs": [
    (input) => {
      input.witness = null;
    },
    ["hotpair:witness: nothing stands here; expected the keys name, site, ssh, address"],
  ],
  "a key file and a key for the witness": [
    (input) => {
      input.witness.ssh.keyFile = "~/.ssh/id";
      input.witness.ssh.key = { secure: "v1:a:b" };
    },
    ["hotpair:witness.ssh.key: stands beside keyFile; keep one of the two, or none for the SSH agent"],
  ],
  "no certificate": [
    (input) => delete input.authority.caCertificate,
    [
      "hotpair:pair.authority.caCertificate: is missing; expected the certificate of the pair's own authority in PEM: make it with `hotpair authority init`",
    ],
  ],
  "half a certificate": [
    (input) => {
      input.authority.members.b.certificate = CERTIFICATE.replace("MAA=", "MCUw");
    },
    [
      'hotpair:pair.authority.members.b.certificate: "-----BEGIN CERTIFICATE-----\\nMCUw\\n-----END CERTIFICATE-----\\n" is not the certificate of a member, one whole certificate in PEM; make it with `hotpair authority init`',
    ],
  ],
  "a private key where a certificate belongs": [
    (input) => {
      input.authority.caCertificate = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    },
    [
      "hotpair:pair.authority.caCertificate: a private key (not shown) is not the certificate of the pair's own authority, one whole certificate in PEM; make it with `hotpair authority init`",
    ],
  ],
  "the authority's key in plain text": [
    (input) => {
      input.authority.caKey = "-----BEGIN PRIVATE KEY-----\nMAA=\n";
    },
    [
      "hotpair:pair.authority.caKey: holds a secret in plain text (not shown); treat it as published, and make it with `hotpair authority init`",
    ],
  ],
  "an election that etcd refuses": [
    (input) => {
      input.authority.etcd = { heartbeat: "100ms", election: "400ms" };
    },
    [
      "hotpair:pair.authority.etcd.election: 400ms is less than 5 × the heartbeat of 100ms, and etcd would not start; write 600ms",
    ],
  ],
  "one port for clients and members": [
    (input) => {
      input.authority.etcd = { peerPort: 2379 };
    },
    [
      "hotpair:pair.authority.etcd.peerPort: port 2379 is taken by etcd's clients (authority.etcd.clientPort); only one of them could start, choose another port",
    ],
  ],
  "a quota without a unit": [
    (input) => {
      input.authority.etcd = { quota: 67_108_864 };
    },
    [
      "hotpair:pair.authority.etcd.quota: 67108864 is not a size with its unit (KiB, MiB, GiB, TiB); expected e.g. 64MiB",
    ],
  ],
  "a quota in decimal units": [
    (input) => {
      input.authority.etcd = { quota: "64MB" };
    },
    ['hotpair:pair.authority.etcd.quota: "64MB" is not a size with its unit (KiB, MiB, GiB, TiB); expected e.g. 64MiB'],
  ],
  "a quota beyond etcd's": [
    (input) => {
      input.authority.etcd = { quota: "9GiB" };
    },
    [
      'hotpair:pair.authority.etcd.quota: "9GiB" is outside 16MiB to 8GiB (etcd recommends at most 8 GiB, its system limits); expected e.g. 64MiB',
    ],
  ],
  "a buffer pool that InnoDB would round": [
    (input) => {
      input.mariadb.bufferPool = "9000KiB";
    },
    [
      'hotpair:pair.mariadb.bufferPool: "9000KiB" is not a multiple of 1MiB (InnoDB grows it in steps of 1 MiB); expected e.g. 9MiB',
    ],
  ],
  "a drift in another unit": [
    (input) => {
      input.authority.lease = { drift: "0.1%" };
    },
    [
      'hotpair:pair.authority.lease.drift: "0.1%" is not a difference of clocks in millionths, up to 100000ppm; expected e.g. 1000ppm',
    ],
  ],
  "replication over a network that is not there": [
    (input) => {
      delete input.networks.storage;
      for (const node of input.nodes) delete node.networks.storage;
      input.mariadb.replicationNetwork = "storage";
    },
    [
      'hotpair:pair.mariadb.replicationNetwork: "storage" is not described; add networks.storage, or write heartbeat or public',
    ],
  ],
  "reads from the replica without HAProxy": [
    (input) => {
      delete input.haproxy;
      input.mariadb.replicaReads = { port: 3307 };
    },
    [
      "hotpair:pair.mariadb.replicaReads: needs haproxy, which knows how far the replica is behind; add haproxy, or remove it",
    ],
  ],
  "reads from the replica on a frontend's port": [
    (input) => {
      input.mariadb.replicaReads = { port: 3306 };
    },
    [
      "hotpair:pair.haproxy.frontends[0].bind: port 3306 is taken by reads from the replica (mariadb.replicaReads.port); only one of them could start, choose another port",
    ],
  ],
  "a frontend on every address at the database's port": [
    (input) => {
      input.haproxy.frontends[0].bind = "*:3306";
    },
    [
      "hotpair:pair.haproxy.frontends[0].bind: port 3306 is taken by MariaDB (mariadb.port); only one of them could start, choose another port",
    ],
  ],
  "a database that is asked by HTTP": [
    (input) => {
      delete input.haproxy.backends[0].mode;
      delete input.haproxy.frontends[0].mode;
    },
    [
      "hotpair:pair.haproxy.backends[0].mode: must be tcp for the service mariadb, which speaks its own protocol; write mode: tcp",
    ],
  ],
  "a backend that does not say what it is for": [
    (input) => delete input.haproxy.backends[0].service,
    [
      "hotpair:pair.haproxy.backends[0]: has no servers: it does not say which service it is for; write service: mariadb (with mode: tcp), or name the servers",
    ],
  ],
  "a service of one's own by the database's name": [
    (input) => {
      input.external = { name: "mariadb", port: 9000 };
    },
    ['hotpair:pair.external.name: "mariadb" is the name of the service that hotpair manages; choose another name'],
  ],
  "a replication password in plain text": [
    (input) => {
      input.mariadb.replicationPassword = "hunter2";
    },
    [
      "hotpair:pair.mariadb.replicationPassword: holds a secret in plain text (not shown); treat it as published, and make one with `hotpair secrets rotate`",
    ],
  ],
  "two agents for one node": [
    (input) => {
      input.fencing.agents[1].node = "node-b";
    },
    ['hotpair:fencing.agents[1].node: "node-b" has hotpair:fencing.agents[0] already; each node has one agent'],
  ],
  "one agent": [
    (input) => input.fencing.agents.pop(),
    ["hotpair:fencing.agents: 1 given; expected exactly 2 fence agents"],
  ],
  "a password among the options": [
    (input) => {
      input.fencing.agents[0].options.snmp_priv_passwd = "hunter2";
    },
    [
      "hotpair:fencing.agents[0].options.snmp_priv_passwd: is a secret, in plain text (not shown); treat it as published, and set a new one with `pulumi config set --path --secret 'hotpair:fencing.agents[0].secrets.snmp_priv_passwd'`",
    ],
  ],
  "an option twice": [
    (input) => {
      input.fencing.agents[0].secrets.ip = { secure: "v1:a:b" };
    },
    ["hotpair:fencing.agents[0].options.ip: stands under secrets, too; keep one of the two"],
  ],
  "an option that is no name": [
    (input) => {
      input.fencing.agents[0].options["--ip"] = "x";
    },
    [
      'hotpair:fencing.agents[0].options["--ip"]: is not an option of a fence agent, in lower-case letters, digits and underscores; expected e.g. ip',
    ],
  ],
  "a number that YAML took from an option": [
    (input) => {
      input.fencing.agents[0].options.lanplus = 1;
    },
    [
      "hotpair:fencing.agents[0].options.lanplus: 1 is not a text of one line (numbers in quotes); expected e.g. 198.18.3.11",
    ],
  ],
  "an agent that is a path": [
    (input) => {
      input.fencing.agents[0].agent = "/bin/sh";
    },
    [
      'hotpair:fencing.agents[0].agent: "/bin/sh" is not a fence agent of the fence-agents project, or aws, or lab; expected e.g. fence_ipmilan',
    ],
  ],
  "several mistakes at once": [
    (input) => {
      input.witness.address = "witness.example.net";
      input.authority.lease = { takeover: "1.5" };
      input.mariadb.port = 0;
    },
    [
      "hotpair:pair.mariadb.port: 0 is not a port number from 1 to 65535; expected e.g. 3306",
      'hotpair:pair.authority.lease.takeover: "1.5" is not a duration with its unit (us, ms, s, m, h, d); expected e.g. 1.5s',
      'hotpair:witness.address: "witness.example.net" is not an IPv4 address; expected e.g. 198.51.100.13',
    ],
  ],
};

test.each(Object.entries(CASES))("%s", (_, [change, expected]) => {
  expect(mistakesWithData(change)).toEqual(expected);
});

test("the configuration that they start from is right", () => {
  expect(mistakesWithData(() => {})).toEqual([]);
});

test.each([
  [
    "caKey",
    (pair: Input) => {
      pair.authority.caKey = "hunter2";
    },
    "hotpair:pair.authority.caKey: does not decrypt to a private key in PEM (value not shown); make it with `hotpair authority init`",
  ],
  [
    "replicationPassword",
    (pair: Input) => {
      pair.mariadb.replicationPassword = "it's";
    },
    "hotpair:pair.mariadb.replicationPassword: does not decrypt to a password of 20 to 32 letters and digits (value not shown); make one with `hotpair secrets rotate`",
  ],
])("a value of %s that decrypts to something else is refused without being shown", (_, change, expected) => {
  const input = readInput(inEngine(statefulInput())) as Input;
  change(input);
  expect(mistakesIn(() => readPair(input, { stack: "lab" }))).toEqual([expected]);
});
