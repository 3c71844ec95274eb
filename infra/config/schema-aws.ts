// Servers that are made in AWS: `hotpair:aws`. How they fit together with the rest is rules-aws.ts.

import {
  address,
  duration,
  flag,
  integer,
  keys,
  list,
  mailbox,
  named,
  oneOf,
  plainAddress,
  reason,
  size,
  text,
} from "./formats.ts";
import type { Secret } from "./schema-secrets.ts";
import { prefix } from "./schema-servers.ts";

/** A prefix as AWS takes it, e.g. in a rule of a security group. */
const cloudPrefix = (example: string) => address(example);

/** `vpc-0123456789abcdef0`: eight hexadecimal digits in old accounts, seventeen since 2018. */
const cloudId = (kind: string, what: string) =>
  text({ what, example: `${kind}-0a1b2c3d4e5f60718`, pattern: new RegExp(`^${kind}-([0-9a-f]{8}|[0-9a-f]{17})$`) });

const zone = (example: string) =>
  text({ what: "an availability zone", example, pattern: /^[a-z]{2}(-[a-z]+)+-\d[a-z]$/ });

const instanceType = (example: string) =>
  text({ what: "an instance type", example, pattern: /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/ });

const elasticIp = () => cloudId("eipalloc", "the allocation id of an Elastic IP");

const REASON = "the second zone of this region has no capacity of the type that we need";

const days = (min: string, because: string, example: string) =>
  duration({ min, max: "36500d", step: "1d", because, example });

export const aws = (secret: Secret) =>
  keys({
    region: text({ what: "a region of AWS", example: "eu-central-1", pattern: /^[a-z]{2}(-[a-z]+)+-\d$/ }).describe(
      "Region in which everything is made.",
    ),
    zones: list(zone("eu-central-1a"), "availability zones", { min: 1, max: 2 }).describe(
      "Zone of the first node and of the second one; with one zone both are there, on different hardware.",
    ),
    vpc: keys({
      prefix: prefix("10.20.0.0/16").describe(
        "The VPC's IPv4 prefix. Every network of the pair lies in it; with two zones each network is cut in halves, the first one for the first node.",
      ),
      id: cloudId("vpc", "the id of a VPC")
        .optional()
        .describe("An existing VPC. Default: one is made, with an internet gateway."),
      routeTable: cloudId("rtb", "the id of a route table")
        .optional()
        .describe("The existing VPC's route table for the public subnets: it is what leads to clients and operators."),
    }).describe("The virtual network."),
    vip: keys({
      method: oneOf("secondary-ip", "elastic-ip", "route", "dns").describe(
        "How the address moves. `secondary-ip`: as a private address, within one zone. `elastic-ip`: a public address, associated with the active node. `route`: an address outside the VPC, in its route tables. `dns`: a record that names the active node.",
      ),
      within: duration({
        min: "100ms",
        max: "10m",
        step: "1ms",
        because: "the estimate counts milliseconds",
        example: "10s",
      })
        .default("10s")
        .describe(
          "Longest time from the call that moves the address to traffic at the new node. AWS promises none: the default is an assumption, until you have measured in your own account.",
        ),
      addresses: keys({
        a: plainAddress("10.20.0.12").describe("Of the first node."),
        b: plainAddress("10.20.0.140").describe("Of the second node."),
      })
        .optional()
        .describe(
          "For `elastic-ip`: a second address of each node on the public network, with which the Elastic IP is associated. The nodes' first ones belong to operators.",
        ),
      hostedZone: text({
        what: "the id of a hosted zone",
        example: "Z0123456789ABCDEFGHIJ",
        pattern: /^Z[A-Z0-9]{5,31}$/,
      })
        .optional()
        .describe("Route 53's hosted zone, for `dns`."),
      record: text({
        what: "a name in that zone",
        example: "shop.example.net",
        pattern: /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/,
      })
        .optional()
        .describe("The record that names the active node, for `dns`."),
      ttl: duration({
        min: "1s",
        max: "1h",
        step: "1s",
        because: "DNS counts whole seconds, RFC 1035 §3.2.1",
        example: "5s",
      })
        .default("5s")
        .describe("How long resolvers keep the record, for `dns`: every failover waits for it."),
    }).describe("The address that moves."),
    instance: keys({
      type: instanceType("m7i.large").describe(
        "Type of both servers when they are made: no later change stops one that runs. Burstable types stop serving when their credits are used up and are refused.",
      ),
      image: cloudId("ami", "the id of an image")
        .optional()
        .describe(
          "Image of both servers. Default: the newest Debian 13 when they are made; a later one replaces nothing.",
        ),
      spot: flag()
        .default(false)
        .describe(
          "Servers that AWS may take away with two minutes' notice, when they are made; refused without a reason.",
        ),
      terminationProtection: flag()
        .default(true)
        .describe(
          "AWS refuses to terminate the servers, and the engine what would exchange one. Set it to false, and run `up`, before `destroy`.",
        ),
    }).describe("The servers."),
    volume: keys({
      type: oneOf("gp3", "io2").default("gp3").describe("Type of the root volume, which is always encrypted."),
      size: size({
        min: "8GiB",
        max: "16TiB",
        step: "1GiB",
        because: "EBS counts whole GiB, and Debian's image has 8",
        example: "20GiB",
      })
        .default("20GiB")
        .describe("Its size."),
      iops: integer(100, 256_000, 3_000, "a number of operations per second")
        .optional()
        .describe("Operations per second. Default: the type's own; io2 has none and needs it."),
    })
      .prefault({})
      .describe("Each server's root volume."),
    ssh: keys({
      from: list(cloudPrefix("203.0.113.0/24"), "prefixes", { min: 1, max: 16 }).describe(
        "From where SSH is let in; never from everywhere.",
      ),
      publicKey: text({
        what: "an SSH public key, type base64",
        example: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…",
        pattern: /^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]{40,}={0,2}$/,
      }).describe("The operator's public key, for the image's own user (`admin` on Debian)."),
      elasticIps: keys({
        a: elasticIp().describe("Of the first node."),
        b: elasticIp().describe("Of the second node."),
      })
        .optional()
        .describe(
          "Elastic IPs that you have allocated, at which the nodes are reached (`ssh.host`). Default: the nodes are reached by their addresses in the VPC, through a VPN or a jump host.",
        ),
    }).describe("How operators get in."),
    witness: keys({
      zone: zone("eu-central-1c").describe(
        "Its zone, in which neither node is: the loss of theirs would take two of three votes.",
      ),
      prefix: prefix("10.20.3.0/28").describe(
        "Its own subnet: a part of the VPC beside the pair's networks, in which `hotpair:witness.address` lies.",
      ),
      type: instanceType("m7g.medium").describe(
        "Its type. It only votes, but in time: burstable types are refused as for the pair.",
      ),
      image: cloudId("ami", "the id of an image")
        .optional()
        .describe("Its image. Default: the newest Debian 13 when it is made; a later one replaces nothing."),
      elasticIp: elasticIp()
        .optional()
        .describe("An Elastic IP that you have allocated, at which it is reached, where the nodes have theirs."),
      hostKey: secret("hostKey").describe(
        "SSH host key that it starts with, encrypted. `hotpair cloud keys` makes it.",
      ),
    })
      .optional()
      .describe("The pair's witness as a third server. Default: `hotpair:witness` is a host that exists."),
    clients: list(cloudPrefix("0.0.0.0/0"), "prefixes", { min: 1, max: 16 })
      .default(["0.0.0.0/0"])
      .describe("From where clients reach the ports that the services declare for them, and no others."),
    bucket: keys({
      name: text({
        what: "the name of a bucket",
        example: "shop-backups-eu",
        pattern: /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/,
      }).describe("Its name, unique in all of AWS."),
      objectLock: days("1d", "object lock counts days", "30d")
        .optional()
        .describe("Nobody can delete or overwrite a version for this long. Default: no lock."),
      infrequentAccess: days("30d", "S3 moves nothing to infrequent access earlier", "30d")
        .optional()
        .describe("Age at which objects move to infrequent access. Default: they do not."),
      glacier: days("1d", "S3 counts days", "90d").optional().describe("Age at which they move to Glacier."),
      deepArchive: days("1d", "S3 counts days", "365d").optional().describe("Age at which they move to Deep Archive."),
    })
      .optional()
      .describe("A bucket for backups: versioned, encrypted, closed to the public. Default: none."),
    backup: keys({
      role: text({
        what: "the ARN of a role",
        example: "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
        pattern: /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,128}$/,
      }).describe(
        "Role of AWS Backup, which must be there. AWS makes `AWSBackupDefaultServiceRole` when somebody first uses AWS Backup in its console.",
      ),
      at: text({
        what: "a time of day, hours and minutes",
        example: "03:00",
        pattern: /^([01]\d|2[0-3]):[0-5]\d$/,
      })
        .default("03:00")
        .describe("When a day's backup may begin, UTC. AWS begins within an hour."),
      keep: days("1d", "AWS Backup counts days", "35d").default("35d").describe("How long a backup is kept."),
    })
      .optional()
      .describe("A daily image of both servers with their volumes, by AWS Backup. Default: none."),
    budget: keys({
      monthly: integer(1, 1_000_000, 300, "a sum in US dollars").describe("What a month may cost, in US dollars."),
      email: list(mailbox("ops@example.net"), "mail addresses", { min: 1, max: 10 }).describe("Who is told."),
    })
      .optional()
      .describe(
        "Mail when AWS bills more than this for what carries the pair's tag, or expects to. Default: none. The tag `hotpair:pair` must be activated as a cost allocation tag.",
      ),
    tags: named(
      "the name of a tag, of at most 64 letters, digits and . _ : + = @ -",
      /^(?!aws:|hotpair:)[A-Za-z0-9._:+=@-]{1,64}$/,
      "owner",
      // Letters that every service takes (AWS general reference, tag naming limits).
      text({
        what: "a text of at most 200 letters, digits, spaces and _ . : / = + - @",
        example: "shop-team",
        pattern: /^[A-Za-z0-9 _.:/=+@-]{1,200}$/,
      }),
    )
      .default({})
      .describe("Tags on everything that is made, beside hotpair's own."),
    accepted: keys({
      oneZone: reason(REASON).optional().describe("Why both servers are in one zone."),
      burstable: reason(REASON).optional().describe("Why the servers may run out of processor credits."),
      spot: reason(REASON).optional().describe("Why AWS may take the servers away."),
    })
      .default({})
      .describe("What is unusual on purpose, with the reason: it is then advised against and no longer refused."),
    hostKeys: keys({
      a: secret("hostKey").describe("The first node's, encrypted."),
      b: secret("hostKey").describe("The second node's, encrypted."),
    }).describe(
      "SSH host keys that the servers start with, so that the first connection is pinned. `hotpair cloud keys` makes them.",
    ),
  });
